import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from thumbnet.errors import InputError
from thumbnet.npz import read_npz


class Bomb:
    """Unpickling it would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (open, (self.path, "w"))


def write_member(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)
    return path


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_side=4)))
def test_arrays_are_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory,
    array: np.ndarray,
) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez(path, a=array, b=np.asfortranarray(array))
    found = read_npz(path)
    assert found.keys() == {"a", "b"}
    for name in ("a", "b"):
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@given(st.data())
def test_a_file_with_a_changed_byte_is_refused_or_read_correctly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    np.savez_compressed(path, a=np.arange(50), state=np.array("text"))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    refusal = str(path)
    try:
        read_npz(path)  # some bytes have no effect, such as those of a date
    except InputError as error:
        refusal = str(error)
    assert str(path) in refusal


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "a.npz", tmp_path / "trace"
    np.savez(path, a=np.array([Bomb(trace)], dtype=object))
    with pytest.raises(InputError, match=r"a.npz is damaged: a.npy contains Python objects"):
        read_npz(path)
    assert not trace.exists()


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = write_member(tmp_path / "bomb.npz", npy(np.zeros(20_000_000, np.uint8)))
    assert path.stat().st_size < 100_000
    with pytest.raises(
        InputError, match=r"bomb.npz would need 20,000,128 bytes of memory; the limit is 1,"
    ):
        read_npz(path, 1_000_000)


@pytest.mark.parametrize("shape", ["(10,)", "(1000000000000,)", "(-1,)", "(10, 9**9)"])
def test_a_shape_that_does_not_match_the_data_is_refused(tmp_path: Path, shape: str) -> None:
    honest = npy(np.zeros(11, np.uint8))
    lying = honest.replace(b"(11,), }".ljust(30), f"{shape}, }}".encode().ljust(30))
    assert lying != honest
    with pytest.raises(InputError, match="is damaged"):
        read_npz(write_member(tmp_path / "a.npz", lying))


@pytest.mark.slow
def test_reading_takes_no_more_memory_than_the_arrays(tmp_path: Path) -> None:
    path = write_member(tmp_path / "a.npz", npy(np.zeros(200 * 2**20, np.uint8)))
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom thumbnet.npz import read_npz\n"
        "used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "read_npz(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 220 * 1024


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(InputError, match="is not a regular file"):
        read_npz(tmp_path / "a.npz")


def test_a_missing_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")
