"""Paths as users write them."""

import os
import stat
from io import BufferedReader
from pathlib import Path

from thumbnet.errors import InputError, shown


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with a leading "~" replaced by the user's home directory, if that is known."""
    # Path.expanduser raises an exception if it is unknown.
    return Path(os.path.expanduser(path))  # noqa: PTH111


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file for reading, unless it is one that could block or never end.

    Raises:
        OSError: it cannot be opened.
        InputError: it is a pipe, a device or a directory.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{shown(path)} is not a regular file")
    return os.fdopen(descriptor, "rb")
