"""The command that installs a missing dependency in the current environment."""

import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from thumbnet.errors import shown


def install_command(extra: str) -> str:
    """The shell command that installs an extra of this package.

    It works without Thumbnet on a package index: a source checkout is installed in place, and an
    installed package already declares its extras. The command names the interpreter if plain `pip`
    would install into another environment.

    Args:
        extra: a name under `[project.optional-dependencies]` in `pyproject.toml`.
    """
    checkout = _checkout()
    if checkout is None:
        target = shlex.quote(f"thumbnet[{extra}]")
    else:
        place = "." if checkout == Path.cwd() else shown(checkout)
        target = f"-e {shlex.quote(f'{place}[{extra}]')}"
    return f"{_installer()} {target}"


def _checkout() -> Path | None:
    """The source checkout that this package runs from; None if it is installed."""
    package = Path(__file__).resolve().parent
    root = package.parent.parent
    is_checkout = package.parent.name == "src" and (root / "pyproject.toml").is_file()
    return root if is_checkout else None


def _installer() -> str:
    scripts = Path(sys.executable).parent
    pip = shutil.which("pip")
    if pip is not None and Path(pip).parent == scripts:
        return "pip install"
    python = shlex.quote(shown(sys.executable))
    if find_spec("pip") is None and shutil.which("uv") is not None:
        return f"uv pip install --python {python}"  # environments created by uv have no pip
    return f"{python} -m pip install"
