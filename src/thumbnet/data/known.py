"""Which places of images this user has named.

A run directory says where its images are. If somebody else made it, that may be anything: the
root of the disk, a network share that never answers. So a path from a run is only followed if this
user has given it as data before, on this machine; otherwise it is asked for by `--data`.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from thumbnet.data.sources.cache import default_cache_directory


def remember_place(path: Path) -> None:
    """Note that this user has named a path as data."""
    marker = _marker(path)
    # Where it cannot be written, the path has to be given again next time.
    with suppress(OSError):
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def is_known_place(path: str | Path) -> bool:
    """Whether this user has named a path as data before."""
    return _marker(Path(path)).exists()


def _marker(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    return default_cache_directory() / "known-data" / name
