"""Paths as users write them."""

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path in which "~" stands for the user's home, where that is known."""
    # Path.expanduser raises where no home is known.
    return Path(os.path.expanduser(path))  # noqa: PTH111
