"""Encoded pictures in files, by their names."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from thumbnet.errors import shown


class Pictures(Protocol):
    """Encoded pictures that can be iterated over in order, as often as needed."""

    @property
    def location(self) -> Path:
        """The file or folder that the user named."""

    def __len__(self) -> int: ...

    def where(self, index: int) -> str:
        """What to call a picture in messages."""

    def encoded(self) -> Iterator[Path | bytes]:
        """Each picture: its file, or the content of one."""

    def fingerprint(self) -> str:
        """Hexadecimal digits that change when a picture may have changed."""


@dataclass(frozen=True, eq=False)
class PictureFiles:
    """A file for each picture.

    Attributes:
        location: the file or folder that named them.
        folder: what `names` are relative to.
        names: a path for each picture.
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
    """Size and time of a file, which change with its content."""
    try:
        found = path.stat()
    except OSError as error:
        return f"{error.strerror}\n"
    return f"{found.st_size} {found.st_mtime_ns}\n"
