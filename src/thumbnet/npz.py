"""Reading `.npz` files that may come from a stranger: no pickle, and no more memory than stated."""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from thumbnet.errors import InputError, shown

Array = npt.NDArray[Any]

MAXIMUM_BYTES = 2**31


def read_npz(path: Path, maximum_bytes: int = MAXIMUM_BYTES) -> dict[str, Array]:
    """Read every array of an `.npz` file.

    `numpy.load` believes what a file says of its size; here the sizes of all members are added up
    before the first is unpacked, and each must be as long as its shape and dtype say.

    Args:
        path: the file.
        maximum_bytes: of all arrays together, unpacked.

    Returns:
        The arrays by their names, without `.npy`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        InputError: the file is damaged, too large, or holds what is no plain array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            if size > maximum_bytes:
                raise InputError(
                    f"{shown(path)} would take {size:,} bytes; at most {maximum_bytes:,} are read"
                )
            return {
                member.filename.removesuffix(".npy"): _read_member(archive, member)
                for member in members
            }
    except (FileNotFoundError, NotADirectoryError, InputError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds for a damaged file
        raise InputError(f"{shown(path)} is damaged: {error}") from error


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    with archive.open(member) as file:
        shape, is_fortran, dtype = _read_header(file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects, which are not read")
        content = file.read()
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ValueError(
            f"{member.filename} holds {len(content):,} bytes, which do not make {dtype} of {shape}"
        )
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(file)
    reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return reader(file)
