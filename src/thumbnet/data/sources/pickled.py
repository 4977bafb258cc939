"""Reading an official pickled batch of CIFAR-10 or CIFAR-100 without trusting it."""

import io
import pickle
import pickletools
from typing import Any, ClassVar

import numpy as np

from thumbnet.data.dataset import UInt8Array
from thumbnet.errors import InputError


class _Recorded:
    """Stands in for NumPy's array, data type and reconstructor: it keeps what they were given."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


# The unpickler in Python, not the one in C: there, three bytes of a file that ask for a place far
# out in the memo make it allocate gigabytes.
class _Unpickler(pickle._Unpickler):
    """Admits the three names that an official batch holds, and makes none of them real."""

    # Nor the operations of later protocols: one of them reserves as much as the file asks for.
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
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no official batch does")


def read_pickled_batch(
    data: bytes, where: str, label_key: bytes = b"labels"
) -> tuple[UInt8Array, list[Any]]:
    """Read a batch as Python 2 pickled it: a dict with `data` and labels.

    Args:
        data: the content of the file.
        where: what to call the file in messages.
        label_key: what the labels are called.

    Returns:
        uint8 array of shape (n, 3072) as it was stored, and the labels, unchecked.

    Raises:
        InputError: it is truncated, or holds anything that an official batch does not.
    """
    try:
        batch = _load(data)
        pixels, labels = batch[b"data"], batch[label_key]
        _, shape, dtype, fortran_order, raw = pixels.state
        if dtype.arguments[0] not in (b"u1", b"|u1") or fortran_order:
            raise ValueError("the pixels are not stored as unsigned bytes in C order")
        array = np.frombuffer(raw, np.uint8).reshape(shape)
        if array.ndim != 2 or not isinstance(labels, list):
            raise ValueError("it holds no matrix of pixels with a list of labels")
    # A damaged or malicious pickle can end in nearly any exception.
    except Exception as error:
        raise InputError(
            f"{where} is no official CIFAR batch, or a damaged one: {error!s:.200}"
        ) from error
    return array, labels


def read_pickled_names(data: bytes, where: str, key: bytes) -> list[str]:
    """Read a list of class names out of a pickled dict, such as the `meta` of CIFAR-100.

    Raises:
        InputError: it is damaged, or holds no such list.
    """
    try:
        return [name.decode("ascii") for name in _load(data)[key]]
    except Exception as error:
        raise InputError(f"{where} holds no class names: {error!s:.200}") from error


def _load(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data), encoding="bytes").load()
