"""A small CIFAR-100: both official layouts, made of a few real images."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from cifar10_files import channel_planes, names_meta, python_batch, tar_gz

from thumbnet.data.dataset import Dataset
from thumbnet.data.load import load
from thumbnet.errors import InputError

FINE = [f"fine_{number}" for number in range(100)]
COARSE = [f"coarse_{number}" for number in range(20)]


def layout_files(layout: str, sample: Dataset, train: int = 30, test: int = 10) -> dict[str, bytes]:
    """The files of a layout: image i has the fine label i and the coarse label i // 5."""
    files = {}
    for part, images in (
        ("train", sample.train.images[:train]),
        ("test", sample.test.images[:test]),
    ):
        fine = np.arange(len(images), dtype=np.uint8)
        coarse = fine // 5
        if layout == "cifar-100-binary":
            records = [coarse[:, None], fine[:, None], channel_planes(images)]
            files[f"{part}.bin"] = np.hstack(records).tobytes()
        else:
            files[part] = python_batch(
                images,
                [],
                (b"fine_labels", fine.tolist()),
                (b"coarse_labels", coarse.tolist()),
            )
    if layout == "cifar-100-binary":
        files["fine_label_names.txt"] = ("\n".join(FINE) + "\n").encode()
        files["coarse_label_names.txt"] = ("\n".join(COARSE) + "\n").encode()
    else:
        files["meta"] = names_meta(fine_label_names=FINE, coarse_label_names=COARSE)
    return files


LAYOUTS = pytest.mark.parametrize("layout", ["cifar-100-binary", "cifar-100-python"])


@LAYOUTS
@pytest.mark.parametrize("place", ["archive", "folder", "folder above"])
def test_both_layouts_as_archives_and_folders(
    layout: str, place: str, sample: Dataset, tmp_path: Path
) -> None:
    files = layout_files(layout, sample)
    if place == "archive":
        path = tmp_path / f"{layout}.tar.gz"
        path.write_bytes(tar_gz(files, layout))
    else:
        folder = tmp_path / layout
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        path = folder if place == "folder" else tmp_path
    dataset = load(path)
    assert dataset.name == "cifar100"
    assert dataset.class_names == tuple(FINE)
    np.testing.assert_array_equal(dataset.train.images, sample.train.images[:30])
    np.testing.assert_array_equal(dataset.test.images, sample.test.images[:10])
    np.testing.assert_array_equal(dataset.train.labels, np.arange(30))
    assert f"official {layout}" in dataset.source
    if layout == "cifar-100-python" and place == "archive":
        assert "its SHA-256 is not the published one" in dataset.source

    coarse = load(path, label="coarse", image_size=16)
    assert (coarse.name, coarse.class_names) == ("cifar100-coarse", tuple(COARSE))
    np.testing.assert_array_equal(coarse.test.labels, np.arange(10) // 5)
    assert coarse.image_shape == (16, 16, 3)
    with pytest.raises(InputError, match=r"--label rough: .* choose coarse or fine"):
        load(path, label="rough")


@LAYOUTS
def test_damaged_files_of_cifar100_are_named(layout: str, sample: Dataset, tmp_path: Path) -> None:
    files = layout_files(layout, sample)
    path = tmp_path / "a.tar.gz"
    for name, message in (
        ("test.bin", r"test.bin in .* not a multiple of the record size of 3074"),
        ("test", r"test in .* is not an official CIFAR batch"),
        ("meta", r"meta in .* contains no class names"),
        ("fine_label_names.txt", "names of 2 fine classes; CIFAR-100 has 100"),
    ):
        if name in files:
            path.write_bytes(tar_gz(files | {name: files[name][:9]}, layout))
            with pytest.raises(InputError, match=message):
                load(path)
            path.write_bytes(tar_gz({n: d for n, d in files.items() if n != name}, layout))
            with pytest.raises(InputError, match=f"is incomplete: {name} missing"):
                load(path)


def test_labels_of_cifar100_out_of_range_are_refused(sample: Dataset, tmp_path: Path) -> None:
    files = layout_files("cifar-100-binary", sample)
    files["test.bin"] = b"\xff\xff" + files["test.bin"][2:]
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tar_gz(files, "cifar-100-binary"))
    with pytest.raises(InputError, match=r"labels in the test split .* must be between 0 and 99"):
        load(path)


def test_a_pickle_with_other_objects_is_refused(sample: Dataset, tmp_path: Path) -> None:
    files = layout_files("cifar-100-python", sample)
    files["meta"] = pickle.dumps(Path("x"), 2)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(tar_gz(files, "cifar-100-python"))
    with pytest.raises(InputError, match=r"meta in .* refers to .*, unlike any official batch"):
        load(path)
