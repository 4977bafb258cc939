"""Reads the tensors of a PyTorch file without PyTorch, and without trusting the file."""

import io
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from thumbnet.errors import InputError

# The first value of a file in PyTorch's legacy format, before the protocol and the system.
MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

Array = npt.NDArray[Any]


class _Tensor(NamedTuple):
    """The position of a tensor: its storage, offset, shape and strides."""

    key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Storage(NamedTuple):
    key: str
    dtype: str


class _Unpickler(pickle.Unpickler):
    """Constructs only tensors and the dictionary that contains them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, str] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in DTYPES:
            return name
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not a tensor")

    def persistent_load(self, identity: Any, /) -> _Storage:
        _, dtype, key, _, _, *_ = identity
        self.storages[key] = DTYPES[dtype]
        return _Storage(key, dtype)


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage.key, offset, tuple(shape), tuple(strides))


def read_tensors(data: bytes, where: str) -> dict[str, Array]:
    """Read a dictionary of tensors in PyTorch's legacy format, which is not a zip file.

    Args:
        data: the content of the file.
        where: the file's name in messages.

    Returns:
        The arrays by name; float32 or int64.

    Raises:
        InputError: it is damaged, or contains anything but tensors.
    """
    try:
        file = io.BytesIO(data)
        magic, _, _ = (_Unpickler(file).load() for _ in range(3))
        if magic != MAGIC:
            raise ValueError("it does not start with the magic number of PyTorch's legacy format")
        unpickler = _Unpickler(file)
        tensors = unpickler.load()
        keys = _Unpickler(file).load()
        storages = {}
        for key in keys:
            dtype = np.dtype(unpickler.storages[key])
            count = int(np.frombuffer(file.read(8), "<i8")[0])
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        return {name: _array(storages[one.key], one) for name, one in tensors.items()}
    # A damaged or malicious pickle can raise nearly any exception.
    except Exception as error:
        raise InputError(f"{where} is not a file of tensors: {error!s:.200}") from error


def _array(storage: Array, tensor: _Tensor) -> Array:
    """A tensor's values, copied according to its offset and strides.

    Raises:
        ValueError: they would lie outside the storage.
    """
    steps = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((size - 1) * stride for size, stride in steps)
    if min((tensor.offset, *tensor.strides)) < 0 or last >= len(storage):
        raise ValueError("a tensor extends beyond its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    view = np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides)
    return view.copy()
