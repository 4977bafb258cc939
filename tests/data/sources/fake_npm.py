"""npm clients of a few lines, put in front of the real one."""

import os
from pathlib import Path

import pytest


def put_npm_on_path(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `script`, lines of sh, the npm of this test; its arguments go to `folder`/arguments."""
    folder.mkdir(parents=True, exist_ok=True)
    npm = folder / "npm"
    npm.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/arguments"\n{script}\n', encoding="utf-8")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder / "arguments"


def remove_npm_from_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no npm to be found."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("PATH", str(folder))
