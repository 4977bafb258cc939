"""Clear errors for archives that cannot be read."""

import zipfile
from pathlib import Path, PurePosixPath

from thumbnet.data.sources.archive import first_member
from thumbnet.errors import InputError, shown

_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHERS = (b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
_TAR_MAGIC, _TAR_OFFSET = b"ustar", 257
_CIFAR_FOLDERS = ("cifar-10", "cifar-100", "package")


def refuse_unknown_archive(path: Path) -> None:
    """Refuse an archive, unless it may be CIFAR-10, CIFAR-100 or an `.npz` file.

    Raises:
        InputError: the archive has to be unpacked first.
    """
    with open(path, "rb") as file:
        beginning = file.read(_TAR_OFFSET + len(_TAR_MAGIC))
    if beginning.startswith(_GZIP):
        _refuse_gzip(path)
    elif beginning.startswith(_ZIP):
        _refuse_zip(path)
    elif beginning.startswith(_OTHERS) or beginning[_TAR_OFFSET:] == _TAR_MAGIC:
        raise _refusal(path, "an archive")


def _refuse_gzip(path: Path) -> None:
    first = first_member(path)
    top = PurePosixPath(first).parts[:1]
    if top and not top[0].startswith(_CIFAR_FOLDERS) and "batch" not in first:
        raise _refusal(path, f"an archive that begins with {shown(first)}")
    if not first and not path.name.lower().endswith((".tar.gz", ".tgz")):
        raise InputError(f"{shown(path)} is compressed; unpack it, and give the unpacked file")


def _refuse_zip(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # a damaged file raises many types; the error comes when it is read
        return
    if not any(name.endswith(".npy") for name in names):
        first = f"an archive that begins with {shown(names[0])}" if names else "an empty archive"
        raise _refusal(path, first)


def _refusal(path: Path, what: str) -> InputError:
    return InputError(
        f"{shown(path)} is {what}, which cannot be read directly; unpack it, and give the folder "
        "or table inside"
    )
