"""Reads untrusted `.npz` files: no pickle, and a limit on memory."""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from thumbnet.errors import InputError, shown
from thumbnet.paths import open_regular

Array = npt.NDArray[Any]

# The predictions for 100,000 images of 1,000 classes take 400 MB.
MAXIMUM_BYTES = 2**29
_PART_BYTES = 2**20


def read_npz(path: Path, maximum_bytes: int = MAXIMUM_BYTES) -> dict[str, Array]:
    """Read every array of an `.npz` file.

    `numpy.load` trusts the sizes that a file declares. Here, the total size of all members is
    checked before the first is decompressed, and each must match its shape and dtype.

    Args:
        path: the file.
        maximum_bytes: limit on the total uncompressed size of all arrays.

    Returns:
        The arrays by name, without `.npy`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        InputError: the file is damaged, too large, or contains something other than plain arrays.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > maximum_bytes:
                raise InputError(
                    f"{shown(path)} would need {size:,} bytes of memory; the limit is "
                    f"{maximum_bytes:,}"
                )
            return {
                member.filename.removesuffix(".npy"): _read_member(archive, member)
                for member in members
            }
    except (FileNotFoundError, NotADirectoryError, InputError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many classes for a damaged file
        raise InputError(f"{shown(path)} is damaged: {error}") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        shape, is_fortran, dtype = _read_header(file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} contains Python objects, which are not read")
        size = member.file_size - file.tell()
        if size != math.prod(shape) * dtype.itemsize:
            raise ValueError(
                f"{member.filename} has {size:,} bytes, which do not match {dtype} of {shape}"
            )
        content = _read_exactly(file, size)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _read_exactly(file: IO[bytes], size: int) -> bytearray:
    """Read `size` bytes into a buffer of that size; `read` would take twice the memory."""
    content = bytearray(size)
    left = memoryview(content)
    while left:
        part = file.read(min(len(left), _PART_BYTES))
        if not part:
            raise ValueError("it is truncated")
        left[: len(part)] = part
        left = left[len(part) :]
    if file.read(1):
        raise ValueError("data follows its end")
    return content


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return reader(file)
