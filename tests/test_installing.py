"""The command that installs a missing dependency."""

import shlex
import sys
import tomllib
from pathlib import Path

import pytest

from thumbnet import installing
from thumbnet.engines.formats import export_format, format_names
from thumbnet.installing import install_command

ROOT = Path(__file__).parents[1]


@pytest.fixture
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `bin` directory of an inactive environment with a space in its name."""
    scripts = tmp_path / "my env" / "bin"
    scripts.mkdir(parents=True)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    return scripts


def installed_at(monkeypatch: pytest.MonkeyPatch, package: Path) -> None:
    monkeypatch.setattr(installing, "__file__", str(package / "installing.py"))


def add_program(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def test_a_checkout_is_installed_in_place_with_the_current_interpreter(
    scripts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert shlex.split(install_command("serve")) == [
        *(str(scripts / "python"), "-m", "pip", "install", "-e", ".[serve]")
    ]
    monkeypatch.chdir(scripts)
    assert shlex.split(install_command("serve"))[-1] == f"{ROOT}[serve]"


def test_an_installed_package_is_named(
    scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_at(monkeypatch, tmp_path / "site-packages" / "thumbnet")
    add_program(scripts, "pip")
    monkeypatch.setenv("PATH", str(scripts))
    assert install_command("serve") == "pip install 'thumbnet[serve]'"


def test_an_environment_without_pip_uses_uv(
    scripts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed_at(monkeypatch, tmp_path / "site-packages" / "thumbnet")
    add_program(tmp_path, "uv")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installing, "find_spec", lambda name: None)
    assert install_command("onnx") == (
        f"uv pip install --python '{scripts / 'python'}' 'thumbnet[onnx]'"
    )


def test_the_extras_of_all_engines_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {export_format(name).EXTRA for name in format_names()} <= set(
        project["optional-dependencies"]
    )
