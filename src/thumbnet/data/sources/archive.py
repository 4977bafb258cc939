"""Reading the files of a folder or of an untrusted .tar.gz into memory."""

import gzip
import tarfile
import zlib
from collections.abc import Container, Iterator
from pathlib import Path, PurePosixPath

from thumbnet.errors import InputError

MAXIMUM_FILE_BYTES = 40_000_000
MAXIMUM_ARCHIVE_BYTES = 250_000_000
"""Unpacked size. The largest form of CIFAR-10 has 31 MB per file and 186 MB in total; CIFAR-100
has the same total."""


def read_folder(
    folder: Path, names: Container[str], limit: int = MAXIMUM_FILE_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a folder that are among `names`.

    Raises:
        InputError: a file is too large or cannot be read.
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
    """Yield name, without its folder, and content of the members that are among `names`.

    Nothing is written to disk.

    Raises:
        InputError: the archive is truncated or damaged, too large when unpacked, or contains
            links, devices or paths outside of it, which no dataset needs.
    """
    try:
        with (
            _Bounded(archive) as unpacked,
            # As a stream, so that the archive is unpacked only once.
            tarfile.open(fileobj=unpacked, mode="r|") as tar,
        ):
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise InputError(
                        f"{archive} contains {member.name!r}, a path outside of the archive"
                    )
                if not (member.isfile() or member.isdir()):
                    raise InputError(f"{archive} contains {member.name!r}, a link or a device")
                file = tar.extractfile(member) if path.name in names else None
                if file is not None:
                    _check_size(member.size, member.name, archive, limit)
                    yield path.name, file.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{archive} is truncated or damaged: {error}") from error


def first_member(archive: Path) -> str:
    """Name of the first member of a .tar.gz; empty if it has none or is not an archive."""
    try:
        with _Bounded(archive) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as tar:
            member = tar.next()
            return member.name if member else ""
    except (tarfile.TarError, EOFError, zlib.error, OSError):
        return ""


def _check_size(size: int, name: str, where: Path, limit: int) -> None:
    if size > limit:
        raise InputError(
            f"{name} in {where} has {size} bytes; the files of CIFAR-10 and CIFAR-100 have at most "
            f"{limit}"
        )


class _Bounded(gzip.GzipFile):
    """Refuses to unpack more bytes than an archive of CIFAR-10 or CIFAR-100 can contain."""

    _left = MAXIMUM_ARCHIVE_BYTES

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise InputError(
                f"{self.name} unpacks to more than {MAXIMUM_ARCHIVE_BYTES} bytes; "
                "it cannot be an archive of CIFAR-10 or CIFAR-100"
            )
        return data
