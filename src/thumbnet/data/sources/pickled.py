"""Safely reading an official pickled batch of CIFAR-10 or CIFAR-100."""

import io
import pickle
import pickletools
from typing import Any, ClassVar

import numpy as np

from thumbnet.data.dataset import UInt8Array
from thumbnet.errors import InputError


class _Recorded:
    """Replaces NumPy's array, dtype and reconstructor, and records their arguments."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


# Based on the unpickler in Python: the one in C can be made to allocate gigabytes by three bytes
# with a large memo index.
class _Unpickler(pickle._Unpickler):
    """Accepts only the three names in an official batch, and replaces all of them."""

    # Opcodes of later protocols are excluded: one of them allocates as much as the file requests.
    dispatch: ClassVar = {
        ord(operation.code): pickle._Unpickler.dispatch[ord(operation.code)]
        for operation in pickletools.opcodes
        if operation.proto <= 2
    }

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        ):
            return _Recorded
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, unlike any official batch")


def read_pickled_batch(
    data: bytes, where: str, label_key: bytes = b"labels"
) -> tuple[UInt8Array, list[Any]]:
    """Read a batch pickled by Python 2: a dict with `data` and labels.

    Args:
        data: the content of the file.
        where: name of the file in messages.
        label_key: dict key of the labels.

    Returns:
        The stored uint8 array of shape (n, 3072), and the labels, which are not validated.

    Raises:
        InputError: the file is truncated, or contains anything that is not in an official batch.
    """
    try:
        batch = _load(data)
        pixels, labels = batch[b"data"], batch[label_key]
        _, shape, dtype, fortran_order, raw = pixels.state
        if dtype.arguments[0] not in (b"u1", b"|u1") or fortran_order:
            raise ValueError("the pixels are not stored as unsigned bytes in C order")
        array = np.frombuffer(raw, np.uint8).reshape(shape)
        if array.ndim != 2 or not isinstance(labels, list):
            raise ValueError("it does not contain a matrix of pixels and a list of labels")
    # A damaged or malicious pickle can raise almost any exception.
    except Exception as error:
        raise InputError(
            f"{where} is not an official CIFAR batch, or is damaged: {error!s:.200}"
        ) from error
    return array, labels


def read_pickled_names(data: bytes, where: str, key: bytes) -> list[str]:
    """Read a list of class names from a pickled dict, such as `meta` of CIFAR-100.

    Raises:
        InputError: the file is damaged or has no such list.
    """
    try:
        return [name.decode("ascii") for name in _load(data)[key]]
    except Exception as error:
        raise InputError(f"{where} contains no class names: {error!s:.200}") from error


def _load(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data), encoding="bytes").load()
