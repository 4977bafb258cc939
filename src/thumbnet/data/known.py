"""The data paths that this user has given on this machine.

A run directory records the path of its data. In a run from somebody else, that path could be
anything, such as the root of the disk or a network drive that never responds. It is therefore only
used if this user has given it as data before; otherwise `--data` is required.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from thumbnet.data.sources.cache import default_cache_directory


def remember_place(path: Path) -> None:
    """Remember that this user has given a path as data."""
    marker = _marker(path)
    # If it cannot be written, the path has to be given again next time.
    with suppress(OSError):
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def is_known_place(path: str | Path) -> bool:
    """Whether this user has given a path as data before."""
    return _marker(Path(path)).exists()


def _marker(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return default_cache_directory() / "known-data" / name
