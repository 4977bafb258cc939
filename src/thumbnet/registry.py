"""The parts that Thumbnet finds by name, and how a script or an installed package adds to them.

Built-in parts are found by the names of their files. A script adds a part with `register`, an
installed package with an entry point in the kind's group, which names a module or an object with
the same attributes.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from thumbnet.errors import InputError

Kind = Literal["architecture", "augmentation", "optimizer", "reader", "export_format"]


@dataclass(frozen=True)
class _Origin:
    """Where the parts of a kind come from, and the attributes that each must have."""

    group: str
    folder: str
    attributes: tuple[str, ...]


_ORIGINS: dict[Kind, _Origin] = {
    "architecture": _Origin(
        "thumbnet.architectures", "models.architectures", ("Parameters", "build")
    ),
    "augmentation": _Origin(
        "thumbnet.augmentations", "augmentations", ("Setting", "MIXES_IMAGES", "build")
    ),
    "optimizer": _Origin("thumbnet.optimizers", "optimizers", ("build",)),
    "reader": _Origin("thumbnet.readers", "data.readers", ("recognises", "read")),
    "export_format": _Origin(
        "thumbnet.export_formats",
        "engines.formats",
        ("TARGET", "MODEL", "PACKAGE", "EXTRA", "WRITTEN_WITH", "QUANTIZES", "open_model", "write"),
    ),
}
_registered: dict[tuple[Kind, str], Any] = {}


def register(kind: Kind, name: str, part: Any) -> None:
    """Add a part for the rest of this process.

    Args:
        kind: the kind of part.
        name: its name in recipes and commands.
        part: a module or an object; docs/extending.md lists the attributes of each kind.

    Raises:
        InputError: the kind is unknown, the name is taken, or an attribute is missing.
    """
    if kind not in _ORIGINS:
        raise InputError(f"{kind!r} cannot be registered; the kinds are {', '.join(_ORIGINS)}")
    if name in names(kind):
        raise InputError(
            f"there is already {_with_article(kind)} {name}; choose a different name for yours"
        )
    _registered[kind, name] = _checked(kind, part, f"the {kind} {name}")


def names(kind: Kind) -> tuple[str, ...]:
    """The names of all parts of a kind, in alphabetical order."""
    registered = [name for of_kind, name in _registered if of_kind == kind]
    return tuple(sorted({*_builtin_names(kind), *_entry_points(kind), *registered}))


def part(kind: Kind, name: str) -> Any:
    """The part of a kind with a given name.

    Raises:
        InputError: there is no such part, or its package cannot be imported.
    """
    if name in _builtin_names(kind):
        return import_module(f"thumbnet.{_ORIGINS[kind].folder}.{name}")
    if (kind, name) in _registered:
        return _registered[kind, name]
    if name not in _entry_points(kind):
        raise InputError(f"there is no {kind} {name}; choose from {', '.join(names(kind))}")
    entry = _entry_points(kind)[name]
    origin = f"the {kind} {name} of the package {entry.dist.name if entry.dist else entry.value}"
    try:
        loaded = entry.load()
    except Exception as error:  # a third-party package may raise anything
        raise InputError(
            f"{origin} cannot be imported: {type(error).__name__}: {error}; update or remove that "
            "package"
        ) from error
    return _checked(kind, loaded, origin)


def _checked(kind: Kind, part: Any, what: str) -> Any:
    missing = [name for name in _ORIGINS[kind].attributes if not hasattr(part, name)]
    if missing:
        raise InputError(f"{what} has no {' and no '.join(missing)}; see docs/extending.md")
    return part


@cache
def _builtin_names(kind: Kind) -> tuple[str, ...]:
    folder = Path(__file__).parent.joinpath(*_ORIGINS[kind].folder.split("."))
    found = (module.name for module in pkgutil.iter_modules([str(folder)]))
    return tuple(name for name in found if not name.startswith("_"))


@cache
def _entry_points(kind: Kind) -> Mapping[str, EntryPoint]:
    found = entry_points(group=_ORIGINS[kind].group)
    return {entry.name: entry for entry in found if entry.name not in _builtin_names(kind)}


def _with_article(kind: Kind) -> str:
    return f"an {kind}" if kind[0] in "aeo" else f"a {kind}"
