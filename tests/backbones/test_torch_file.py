import io
import pickle
import sys
import types
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from thumbnet.backbones.torch_file import MAGIC, read_tensors
from thumbnet.errors import InputError


class _Storage:
    """A storage as PyTorch's pickles refer to it."""

    def __init__(self, kind: type, key: str, size: int) -> None:
        self.identity = ("storage", kind, key, "cpu", size, None)


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.identity if isinstance(obj, _Storage) else None


class _Call:
    """An object whose pickle calls an arbitrary function."""

    def __init__(self, function: Any, arguments: tuple[Any, ...]) -> None:
        self._reduced = function, arguments

    def __reduce__(self) -> Any:
        return self._reduced


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A stand-in for PyTorch with the names that a pickle refers to."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    module.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})  # type: ignore[attr-defined]

    def _rebuild_tensor_v2(*_: Any) -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        "_rebuild_tensor_v2",
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


def _written(torch: Any, numbers: Any, **tensors: tuple[int, tuple[int, ...], Any]) -> bytes:
    """A file of tensors, each given by its offset, shape and strides in a common storage."""
    rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2
    storage = _Storage(torch.FloatStorage, "7", len(numbers))
    values = OrderedDict(
        (name, _Call(rebuild, (storage, *where, False, OrderedDict())))
        for name, where in tensors.items()
    )
    file = io.BytesIO()
    for part in (MAGIC, 1001, {"little_endian": True}):
        pickle.dump(part, file, 2)
    _Pickler(file, 2).dump(values)
    pickle.dump(["7"], file, 2)
    file.write(np.int64(len(numbers)).tobytes() + np.asarray(numbers, "<f4").tobytes())
    return file.getvalue()


def test_tensors_are_read_according_to_their_strides(torch: types.ModuleType) -> None:
    numbers = np.arange(8, dtype=np.float32)

    tensors = read_tensors(
        _written(torch, numbers, plain=(2, (2, 3), (3, 1)), turned=(0, (2, 3), (1, 2))), "a file"
    )

    assert np.array_equal(tensors["plain"], numbers[2:].reshape(2, 3))
    assert np.array_equal(tensors["turned"], numbers[:6].reshape(3, 2).T)


@pytest.mark.parametrize("strides", [(4, 1), (-1, 1)])
def test_a_tensor_beyond_its_storage_is_refused(
    torch: types.ModuleType, strides: tuple[int, int]
) -> None:
    data = _written(torch, np.zeros(6), far=(0, (2, 3), strides))

    with pytest.raises(InputError, match="extends beyond"):
        read_tensors(data, "a file")


def test_only_tensors_are_constructed(torch: types.ModuleType) -> None:
    called: list[str] = []
    file = io.BytesIO()
    parts: list[Any] = [MAGIC, 1001, {}, _Call(eval, ("called.append('eval')",))]
    for part in parts:
        pickle.dump(part, file, 2)

    with pytest.raises(InputError, match=r"refers to \S+eval, which is not a tensor"):
        read_tensors(file.getvalue(), "a file")
    assert not called


def test_a_truncated_file_is_refused(torch: types.ModuleType) -> None:
    data = _written(torch, np.zeros(6), one=(0, (6,), (1,)))

    for length in (0, 10, len(data) - 3):
        with pytest.raises(InputError, match="is not a file of tensors"):
            read_tensors(data[:length], "a file")
