"""Digests of model files."""

import hashlib
from pathlib import Path

from thumbnet.errors import InputError
from thumbnet.paths import open_regular


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_of(path: Path) -> dict[str, str]:
    """SHA-256 of a file, or of every file in a folder, by path relative to the parent of `path`.

    Raises:
        InputError: `path` is missing, or contains anything but regular files and folders.
    """
    found = sorted([path, *path.rglob("*")]) if path.is_dir() else [path]
    for each in found:
        if each.is_symlink() or not (each.is_file() or each.is_dir()):
            raise InputError(f"{each} is missing or not a regular file; export the run again")
    return {
        each.relative_to(path.parent).as_posix(): file_digest(each)
        for each in found
        if each.is_file()
    }
