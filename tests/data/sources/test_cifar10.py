import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar10_files import (
    BATCH_SIZE,
    FOLDERS,
    binary_batch,
    layout_files,
    long_string,
    png_batch,
    python_batch,
    release_of,
    short_string,
    small_part,
    tar_gz,
    write_layout,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thumbnet.data.dataset import Dataset
from thumbnet.data.sources.archive import MAXIMUM_ARCHIVE_BYTES, MAXIMUM_FILE_BYTES
from thumbnet.data.sources.cifar10 import (
    CIFAR10,
    CLASS_NAMES,
    Release,
    read_cifar10,
    read_npz,
    write_npz,
)
from thumbnet.errors import InputError

LAYOUTS = sorted(FOLDERS)


@pytest.fixture(scope="session")
def original(sample: Dataset) -> Dataset:
    return small_part(sample)


@pytest.fixture(scope="session")
def release(original: Dataset) -> Release:
    return release_of(original)


def same(one: Dataset, other: Dataset) -> bool:
    return one.digests == other.digests


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["archive.tar.gz", "folder"])
def test_every_layout_gives_the_same_images(
    layout: str, name: str, original: Dataset, release: Release, tmp_path: Path
) -> None:
    path = write_layout(layout, original, tmp_path / name)
    dataset = read_cifar10(path, release)
    np.testing.assert_array_equal(dataset.train.images, original.train.images)
    np.testing.assert_array_equal(dataset.train.labels, original.train.labels)
    np.testing.assert_array_equal(dataset.test.images, original.test.images)
    np.testing.assert_array_equal(dataset.test.labels, original.test.labels)
    assert (dataset.name, dataset.class_names) == ("cifar10", CLASS_NAMES)
    assert str(path) in dataset.source
    assert dataset.path == path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_parent_of_the_unpacked_folder_is_accepted(
    layout: str, original: Dataset, release: Release, tmp_path: Path
) -> None:
    write_layout(layout, original, tmp_path / FOLDERS[layout])
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert same(read_cifar10(tmp_path, release), original)


def test_a_cache_file_is_accepted(original: Dataset, release: Release, tmp_path: Path) -> None:
    path = tmp_path / "cifar10.npz"
    with open(path, "wb") as file:
        write_npz(file, original)
    assert same(read_cifar10(path, release), original)


def test_the_test_pickles_are_valid_pickles_of_python_2(original: Dataset) -> None:
    """Python's unpickler and NumPy can read the test batches like the official ones."""
    data = python_batch(np.asarray(original.test.images), original.test.labels.tolist())
    batch = pickle.loads(data, encoding="bytes")
    assert batch[b"labels"] == original.test.labels.tolist()
    assert (batch[b"data"].shape, batch[b"data"].dtype) == ((BATCH_SIZE, 3072), np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_changed_content_is_refused_with_both_digests(
    layout: str, original: Dataset, release: Release, tmp_path: Path
) -> None:
    images = np.array(original.test.images)
    images[3, 4, 5, 1] ^= 1
    changed = Dataset(
        "cifar10",
        original.class_names,
        original.train,
        replace(original.test, images=images),
        "changed",
    )
    path = write_layout(layout, changed, tmp_path / "archive.tgz")
    expected, found = original.digests["test_images"], changed.digests["test_images"]
    with pytest.raises(InputError, match=rf"the test images should be {expected}, but is {found}"):
        read_cifar10(path, release)


def test_reordered_images_are_refused(original: Dataset, release: Release, tmp_path: Path) -> None:
    files = layout_files("binary", original)
    files["data_batch_1.bin"], files["data_batch_2.bin"] = (
        files["data_batch_2.bin"],
        files["data_batch_1.bin"],
    )
    (tmp_path / "a.tgz").write_bytes(tar_gz(files, "x"))
    with pytest.raises(InputError, match="the SHA-256 of the train images should be"):
        read_cifar10(tmp_path / "a.tgz", release)


def test_the_default_release_is_the_published_one(original: Dataset, tmp_path: Path) -> None:
    assert CIFAR10.batch_size == 10_000
    path = write_layout("binary", original, tmp_path / "a.tgz")
    with pytest.raises(InputError, match=r"10000 records of 3073 bytes need 30730000"):
        read_cifar10(path)


def test_missing_batches_are_named(original: Dataset, release: Release, tmp_path: Path) -> None:
    path = write_layout("python", original, tmp_path / "folder")
    (path / "data_batch_3").unlink()
    with pytest.raises(
        InputError, match=r"official Python batches but is incomplete: data_batch_3 miss"
    ):
        read_cifar10(path, release)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"contains no batch of CIFAR-10, such as data_batch_1\.b"):
        read_cifar10(tmp_path / "empty", release)


def test_other_files_are_refused_with_the_accepted_formats(
    release: Release, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(InputError, match=r"is not an archive of CIFAR-10; give cifar-10-py"):
        read_cifar10(tmp_path / "a.txt", release)
    with pytest.raises(InputError, match=r"nosuch cannot be read: No such file"):
        read_cifar10(tmp_path / "nosuch", release)


def test_a_failing_disk_is_reported(
    original: Dataset, release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    path = write_layout("binary", original, tmp_path / "folder")
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(InputError, match=r"folder cannot be read: .*Input/output error"):
        read_cifar10(path, release)


@pytest.fixture(scope="session")
def archive(original: Dataset) -> bytes:
    return tar_gz(layout_files("binary", original), FOLDERS["binary"])


@settings(max_examples=40, deadline=None)
@given(kept=st.floats(0, 0.999))
def test_a_truncated_archive_is_refused(
    kept: float, archive: bytes, release: Release, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.tar.gz"
    path.write_bytes(archive[: int(len(archive) * kept)])
    with pytest.raises(InputError, match=r"a\.tar\.gz"):
        read_cifar10(path, release)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_never_changes_the_images(
    data: st.DataObject,
    archive: bytes,
    original: Dataset,
    release: Release,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    damaged = bytearray(archive)
    damaged[data.draw(st.integers(0, len(archive) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("flip") / "a.tar.gz"
    path.write_bytes(damaged)
    try:
        dataset = read_cifar10(path, release)
    except InputError:
        return
    assert same(dataset, original)


def tar_with(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    ("member", "complaint"),
    [
        (
            tarfile.TarInfo("../data_batch_1.bin"),
            r"'\.\./data_batch_1\.bin', a path outside of the archive",
        ),
        (tarfile.TarInfo("a/../../data_batch_1.bin"), "a path outside of the archive"),
        (tarfile.TarInfo("/etc/data_batch_1.bin"), "a path outside of the archive"),
        (link("data_batch_1.bin", "/etc/passwd"), "a link or a device"),
    ],
)
def test_unsafe_archive_members_are_refused(
    member: tarfile.TarInfo, complaint: str, release: Release, tmp_path: Path
) -> None:
    (tmp_path / "a.tgz").write_bytes(tar_with((member, b"")))
    with pytest.raises(InputError, match=complaint):
        read_cifar10(tmp_path / "a.tgz", release)
    assert [file.name for file in tmp_path.iterdir()] == ["a.tgz"]


def test_decompression_bombs_are_refused(release: Release, tmp_path: Path) -> None:
    bomb = tmp_path / "a.tgz"
    bomb.write_bytes(tar_with((tarfile.TarInfo("test_batch"), bytes(MAXIMUM_FILE_BYTES + 1))))
    with pytest.raises(
        InputError, match=r"test_batch in .* has 40000001 bytes; the files of CIFAR"
    ):
        read_cifar10(bomb, release)
    # Half a gigabyte of zeros in a header that may contain a long name.
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 2 * MAXIMUM_ARCHIVE_BYTES
    piece = gzip.compress(bytes(MAXIMUM_ARCHIVE_BYTES // 10), 1)
    bomb.write_bytes(gzip.compress(name.tobuf()) + 20 * piece)
    with pytest.raises(InputError, match="unpacks to more than 250000000 bytes"):
        read_cifar10(bomb, release)
    folder = tmp_path / "folder"
    folder.mkdir()
    with open(folder / "test_batch.bin", "wb") as file:
        file.truncate(10**10)
    with pytest.raises(InputError, match=r"test_batch\.bin in .* has 10000000000 bytes"):
        read_cifar10(folder, release)


def refuse(name: str, data: bytes, folder: Path, original: Dataset, complaint: str) -> None:
    """Check that a layout with one bad file is refused because of that file."""
    suffix = Path(name).suffix
    layout = {".bin": "binary", "": "python"}.get(suffix, "npm")
    path = write_layout(layout, original, folder / "folder")
    (path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name} in .*folder.*{complaint}"):
        read_cifar10(path, release_of(original))


def test_truncated_binary_records_are_refused(original: Dataset, tmp_path: Path) -> None:
    data = layout_files("binary", original)["test_batch.bin"]
    refuse("test_batch.bin", data[:-1], tmp_path, original, "has 36875 bytes; 12 records of 3073")


def test_label_values_are_checked(original: Dataset, tmp_path: Path) -> None:
    images, labels = np.asarray(original.test.images), original.test.labels.astype(np.uint8)
    labels[7] = 10
    complaint = "has 10 as label 7; labels must be integers from 0 to 9"
    refuse("test_batch.bin", binary_batch(images, labels), tmp_path / "a", original, complaint)
    batch = python_batch(images, labels.tolist())
    refuse("test_batch", batch, tmp_path / "b", original, complaint)
    listed = json.dumps(labels.tolist()).encode()
    refuse("test_lables.json", listed, tmp_path / "c", original, complaint)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("{}", "contains no labels; expected 12"),
        ("[1, 2]", "contains 2 labels; expected 12"),
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, true]", "has True as label 11"),
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 1.0]", r"has 1\.0 as label 11"),
        ("[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, -1]", "has -1 as label 11"),
    ],
)
def test_label_lists_are_checked(
    text: str, complaint: str, original: Dataset, tmp_path: Path
) -> None:
    refuse("test_lables.json", text.encode(), tmp_path, original, complaint)


def test_png_batches_are_checked(original: Dataset, tmp_path: Path) -> None:
    picture = png_batch(np.asarray(original.test.images))
    refuse("test_batch.png", picture[:2000], tmp_path / "a", original, "cannot be read")
    refuse("test_batch.png", b"GIF89a", tmp_path / "b", original, "cannot be read")
    wide = png_batch(original.test.images[:5])
    refuse("test_batch.png", wide, tmp_path / "c", original, "RGB of 1024×5 pixels; expected RGB")
    file = io.BytesIO()
    Image.new("L", (1024, BATCH_SIZE)).save(file, "PNG")
    refuse("test_batch.png", file.getvalue(), tmp_path / "d", original, "L of 1024×12 pixels")


class Trap:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch trapped",)


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda data: pickle.dumps(Trap(), 2), r"refers to posix\.system, unlike any official b"),
        (
            lambda data: pickle.dumps({b"data": np.array([None]), b"labels": []}, 2),
            "refers to _codecs",
        ),
        (lambda data: data[:-1], ""),
        (lambda data: data[:1000], ""),
        (lambda data: b"", ""),
        (lambda data: b"\x80\x02N.", "NoneType"),
        (lambda data: b"\x80\x02}.", "b'data'"),
        (lambda data: b"\x80\x02c__builtin__\neval\n.", "refers to __builtin__.eval"),
        # Persistent ids, registered extensions, and a state for the replacement class.
        (lambda data: b"\x80\x02K\x01Q.", ""),
        (lambda data: b"\x80\x02\x82\x01.", ""),
        (lambda data: b"\x80\x02cnumpy\nndarray\nK\x01b.", ""),
        # A memo index that makes the unpickler in C allocate 64 GB.
        (lambda data: b"\x80\x02]r\xff\xff\xff\xff}.", "b'data'"),
        # An opcode of protocol 5 that allocates 1.6 GB; found by a fuzzer.
        (lambda data: b"\x96*e``\x00\x00\x00\x00\x00", "150"),
        (replaced(b"U\x02u1", b"U\x02f4"), "not stored as unsigned bytes"),
        (replaced(b"tb\x89", b"tb\x88"), "not stored as unsigned bytes"),
        (replaced(b"M\x00\x0c\x86", b"M\x01\x0c\x86"), "cannot reshape"),
        (replaced(b"M\x00\x0c\x86", b"K\x20K\x60\x87"), "not contain a matrix of pixels"),
        (replaced(short_string(b"labels") + b"](", short_string(b"labels") + b"}("), ""),
        (replaced(b"U\x06labels", b"U\x06labelz"), "b'labels'"),
    ],
)
def test_a_pickle_may_contain_only_a_batch(
    change: Callable[[bytes], bytes],
    complaint: str,
    original: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = layout_files("python", original)["test_batch"]
    assert change(data) != data
    refuse(
        "test_batch",
        change(data),
        tmp_path,
        original,
        f"is not an official CIFAR batch, or is damaged: .*{complaint}",
    )
    assert not (tmp_path / "trapped").exists()


def test_a_pickled_batch_must_be_complete(original: Dataset, tmp_path: Path) -> None:
    images, labels = np.asarray(original.test.images), original.test.labels.tolist()
    few = python_batch(images[:5], labels[:5])
    refuse("test_batch", few, tmp_path / "a", original, r"pixels of shape \(5, 3072\)")
    refuse(
        "test_batch",
        python_batch(images, labels[:5]),
        tmp_path / "b",
        original,
        "contains 5 labels",
    )


@pytest.fixture(scope="session")
def python_folder(original: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout("python", original, tmp_path_factory.mktemp("python") / "folder")


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_pickle_is_read_correctly_or_refused(
    data: st.DataObject, original: Dataset, release: Release, python_folder: Path
) -> None:
    batch = bytearray(layout_files("python", original)["test_batch"])
    # Most of the file is pixels; change the bytes around them.
    place = data.draw(st.integers(0, 400) | st.integers(len(batch) - 200, len(batch) - 1))
    batch[place] = data.draw(st.integers(0, 255))
    (python_folder / "test_batch").write_bytes(batch)
    try:
        dataset = read_cifar10(python_folder, release)
    except InputError:
        return
    assert same(dataset, original)


def npz_of(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def huge_array_header() -> bytes:
    """An .npz file with an array whose shape does not fit into any memory."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as members:
        members.writestr("train_images.npy", header.getvalue())
    return file.getvalue()


def zeros_compressed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as members:
        members.writestr("train_images.npy", bytes(MAXIMUM_ARCHIVE_BYTES + 1))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (lambda: npz_of(x=np.zeros(3)), "is damaged: .*train_images"),
        (lambda: npz_of(train_images=np.array([None])), "is damaged: .*Python objects"),
        (lambda: npz_of(train_images=np.zeros(3), train_labels=np.zeros(3)), "uint8 array"),
        (huge_array_header, "is damaged"),
        (zeros_compressed, "would need 250,000,001 bytes"),
        (lambda: b"PK\x03\x04" + struct.pack("<q", 0), "is damaged"),
    ],
)
def test_a_damaged_cache_file_is_refused(
    content: Callable[[], bytes], complaint: str, release: Release, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content())
    with pytest.raises(InputError, match=rf"a\.npz.*{complaint}"):
        read_cifar10(path, release)


def test_the_cache_file_records_the_original_source(
    original: Dataset, release: Release, tmp_path: Path
) -> None:
    with open(tmp_path / "a.npz", "wb") as file:
        write_npz(file, original)
    assert read_npz(tmp_path / "a.npz", release)[1] == original.source
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "b.npz", release)


def test_long_strings_match_the_pickles_of_python_2() -> None:
    assert pickle.loads(long_string(b"x" * 300) + b".", encoding="bytes") == b"x" * 300
