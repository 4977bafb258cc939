"""Fake npm clients of a few lines, placed before the real one in PATH."""

import os
from pathlib import Path

import pytest


def put_npm_on_path(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use `script`, lines of sh, as npm in this test; it logs its arguments in a file."""
    folder.mkdir(parents=True, exist_ok=True)
    npm = folder / "npm"
    npm.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/arguments"\n{script}\n', encoding="utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder / "arguments"


def remove_npm_from_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make sure that no npm is found."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("PATH", str(folder))
