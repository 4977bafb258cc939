"""Reading the files of a folder or a .tar.gz into memory, whoever made it."""

import gzip
import tarfile
import zlib
from collections.abc import Container, Iterator
from pathlib import Path, PurePosixPath

from thumbnet.errors import InputError

MAXIMUM_FILE_BYTES = 40_000_000
MAXIMUM_ARCHIVE_BYTES = 250_000_000
"""Unpacked. CIFAR-10 needs 31 MB a file and 186 MB in all in its largest form, CIFAR-100 as
much in all."""


def read_folder(
    folder: Path, names: Container[str], limit: int = MAXIMUM_FILE_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of those files of a folder that are among `names`.

    Raises:
        InputError: one is too large, or cannot be read.
    """
    try:
        for file in sorted(folder.iterdir()):
            if file.name in names and file.is_file():
                _check_size(file.stat().st_size, file.name, folder, limit)
                yield file.name, file.read_bytes()
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error}") from error


def read_tar(
    archive: Path, names: Container[str], limit: int = MAXIMUM_FILE_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yield name, without its folder, and content of those members that are among `names`.

    Nothing is written to the disk.

    Raises:
        InputError: the archive is truncated or damaged, too large once unpacked, or holds what no
            data set needs: links, devices, paths that lead out of it.
    """
    try:
        with (
            _Bounded(archive) as unpacked,
            # As a stream: the archive is unpacked once, and no member is looked for backwards.
            tarfile.open(fileobj=unpacked, mode="r|") as tar,
        ):
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise InputError(
                        f"{archive} holds {member.name!r}, a path that leads out of it"
                    )
                if not (member.isfile() or member.isdir()):
                    raise InputError(f"{archive} holds {member.name!r}, a link or a device")
                file = tar.extractfile(member) if path.name in names else None
                if file is not None:
                    _check_size(member.size, member.name, archive, limit)
                    yield path.name, file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{archive} is truncated or damaged: {error}") from error


def first_member(archive: Path) -> str:
    """Name of the first member of a .tar.gz; empty where there is none, or no archive."""
    try:
        with _Bounded(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            member = tar.next()
            return member.name if member else ""
    except (tarfile.TarError, EOFError, zlib.error, OSError):
        return ""


def _check_size(size: int, name: str, where: Path, limit: int) -> None:
    if size > limit:
        raise InputError(
            f"{name} in {where} has {size} bytes; no file of CIFAR-10 or CIFAR-100 has more "
            f"than {limit}"
        )


class _Bounded(gzip.GzipFile):
    """Refuses to unpack to more than any archive of CIFAR-10 or CIFAR-100 does."""

    _left = MAXIMUM_ARCHIVE_BYTES

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise InputError(
                f"{self.name} unpacks to more than {MAXIMUM_ARCHIVE_BYTES} bytes; "
                "no archive of CIFAR-10 does"
            )
        return data
