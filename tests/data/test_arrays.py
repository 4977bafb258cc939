"""Datasets in `.npz` files."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import two_classes

from thumbnet.data.arrays import resize
from thumbnet.data.dataset import Dataset
from thumbnet.data.images import read_image
from thumbnet.data.load import load
from thumbnet.errors import InputError


def test_arrays_named_as_in_keras(sample: Dataset, tmp_path: Path) -> None:
    part, _ = two_classes(sample, 40)
    images, labels = np.asarray(part.images), part.labels
    np.savez(
        tmp_path / "pets.npz",
        x_train=images[:30], y_train=labels[:30, None].astype(np.uint8),
        x_test=images[30:], y_test=labels[30:, None].astype(np.uint8),
        class_names=np.array(["cat", "dog", "cow"]),
    )  # fmt: skip
    dataset = load(tmp_path / "pets.npz")
    assert (dataset.name, dataset.class_names) == ("pets", ("cat", "dog", "cow"))
    assert {i.tobytes() for i in dataset.train.images} == {i.tobytes() for i in images[:30]}
    np.testing.assert_array_equal(dataset.test.images, images[30:])
    np.testing.assert_array_equal(dataset.test.labels, labels[30:])


def test_grey_arrays_named_as_in_medmnist(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(30, 28, 28), dtype=np.uint8)
    parts = {f"{part}_images": images for part in ("train", "val", "test")}
    labels = {f"{part}_labels": np.arange(30) % 3 * 5 for part in ("train", "val", "test")}
    np.savez_compressed(tmp_path / "a.npz", **parts, **labels)  # type: ignore[arg-type]
    dataset = load(tmp_path / "a.npz")
    assert dataset.image_shape == (28, 28, 1)
    assert dataset.class_names == ("0", "5", "10")
    assert dataset.validation is not None
    assert load(tmp_path / "a.npz", image_size=16).image_shape == (16, 16, 1)


def test_a_missing_test_split_is_held_out(tmp_path: Path) -> None:
    images = np.zeros((200, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.array(["b", "a"] * 100))
    dataset = load(tmp_path / "a.npz")
    assert dataset.class_names == ("a", "b")
    assert np.bincount(dataset.test.labels).tolist() == pytest.approx([20, 20], abs=8)
    with pytest.raises(InputError, match="has no test split, which --require-test requires"):
        load(tmp_path / "a.npz", require_test=True)
    with pytest.raises(InputError, match=r"--group x: .*a.npz has no image names"):
        load(tmp_path / "a.npz", group="x")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, r"has no array x_train or train_images \(its arrays: a\)"),
        (
            {"x": np.full((3, 8, 8), -1.0), "y": np.arange(3)},
            "x in .* has dtype float64 with values from -1 to -1; pixels must be whole numbers",
        ),
        (
            {"x": np.zeros((3, 8, 8, 4), np.uint8), "y": np.arange(3)},
            r"x in .* has shape \(3, 8, 8, 4\); .* drop the alpha channel",
        ),
        (
            {"x": np.zeros((0, 8, 8), np.uint8), "y": np.arange(0)},
            r"x in .* has shape \(0, 8, 8\): it contains no images",
        ),
        ({"x": np.zeros((3, 8, 8), np.uint8)}, "has no labels for its only split"),
        (
            {"x": np.zeros((3, 8, 8), np.uint8), "y": np.zeros((3, 10))},
            r"y in .* has shape \(3, 10\), and row 0 is not one-hot: \[0.0, 0.0",
        ),
        (
            {"x": np.zeros((3, 8, 8), np.uint8), "y": np.arange(3), "class_names": np.array(["a"])},
            "y in .* has 1 in row 1; it must be 0 to 0, or the name of a class",
        ),
        (
            {
                "x_train": np.zeros((3, 8, 8), np.uint8), "y_train": np.arange(3),
                "x_test": np.zeros((3, 9, 9), np.uint8), "y_test": np.arange(3),
            },
            r"different shapes \(\(8, 8, 1\) of x_train .*, \(9, 9, 1\) of x_test .*must be the s",
        ),
    ],
)  # fmt: skip
def test_unsuitable_arrays_are_refused(
    arrays: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]],
    message: str,
    tmp_path: Path,
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        load(tmp_path / "a.npz")


def test_a_pickle_in_an_npz_file_is_not_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "sprung"),))  # type: ignore[return-value]

    np.savez(tmp_path / "a.npz", x=np.array([Trap()], dtype=object))
    with pytest.raises(InputError, match=r"a.npz is damaged: .*Python objects"):
        load(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()


def test_truncated_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((3, 8, 8), np.uint8), y=np.arange(3))
    whole = path.read_bytes()
    for kept in range(4, len(whole), 97):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"a.npz is damaged"):
            load(path)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.npz"
    np.savez(path, x=np.zeros((8, 8, 8), np.uint8), y=np.arange(8) % 2)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        assert load(path).image_shape[2] in (1, 3)


def test_an_unsupported_zip_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((8, 8, 8), np.uint8), y=np.arange(8) % 2)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.npz is damaged: zip file version"):
        load(path)


def test_arrays_and_files_are_resized_in_the_same_way(sample: Dataset, tmp_path: Path) -> None:
    from PIL import Image

    images = sample.test.images[:300]
    small = resize(images, 20)
    assert small.shape == (300, 20, 20, 3)
    for index in (0, 255, 299):
        Image.fromarray(images[index]).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png", (20, 20, 3)), small[index])


def test_cifar10_can_be_resized() -> None:
    dataset = load(source="sample", image_size=16)
    assert dataset.image_shape == (16, 16, 3)
    assert dataset.reading.image_size == 16
