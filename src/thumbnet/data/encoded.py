"""Encoded images, as files or as bytes."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from thumbnet.errors import shown


class EncodedImages(Protocol):
    """Encoded images that can be iterated over repeatedly."""

    @property
    def location(self) -> Path:
        """The file or folder that the user gave."""

    def __len__(self) -> int: ...

    def where(self, index: int) -> str:
        """Name of an image in messages."""

    def encoded(self) -> Iterator[Path | bytes]:
        """Each image in order, as a path or as the bytes of a file."""

    def fingerprint(self) -> str:
        """A hexadecimal digest that changes when an image may have changed."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """One file per image.

    Attributes:
        location: the file or folder that lists them.
        folder: the folder that `names` are relative to.
        names: the path of each image.
    """

    location: Path
    folder: Path
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def where(self, index: int) -> str:
        return shown(self.folder / self.names[index])

    def encoded(self) -> Iterator[Path | bytes]:
        return (self.folder / name for name in self.names)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for name in self.names:
            digest.update(os.fsencode(name) + b"\0" + file_state(self.folder / name).encode())
        return digest.hexdigest()


def file_state(path: Path) -> str:
    """Size and modification time of a file, which change with its content."""
    try:
        found = path.stat()
    except OSError as error:
        return f"{error.strerror}\n"
    return f"{found.st_size} {found.st_mtime_ns}\n"
