import hashlib

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset, LabelledImages, content_digest
from thumbnet.errors import InputError


def images(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.zeros((count, 4, 4, 3), np.uint8)


def labels(*values: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.array(values, np.int64)


def test_shapes_and_dtypes_are_checked() -> None:
    with pytest.raises(InputError, match=r"uint8 array .* got float32 of shape \(1, 4, 4, 3\)"):
        LabelledImages(images(1).astype(np.float32), labels(0))
    with pytest.raises(
        InputError, match=r"int64 array of shape \(2,\).* got int64 of shape \(1,\)"
    ):
        LabelledImages(images(2), labels(0))


def test_names_stay_with_their_images() -> None:
    part = LabelledImages(images(3), labels(0, 1, 0), ("a.png", "b.png", "c.png"))
    assert part.take([2, 0]).names == ("c.png", "a.png")
    assert part.name(1) == "b.png"
    assert LabelledImages(images(3), labels(0, 1, 0)).take([2]).name(0) == "#0"
    with pytest.raises(InputError, match="one name for each of the 3 images; got 2"):
        LabelledImages(images(3), labels(0, 1, 0), ("a.png", "b.png"))


def test_labels_out_of_range_are_refused() -> None:
    part = LabelledImages(images(2), labels(0, 2))
    with pytest.raises(InputError, match=r"train split of here range from 0 to 2; with 2 cl"):
        Dataset("x", ("a", "b"), part, part, "here")


def test_splits_must_have_images_of_the_same_shape() -> None:
    part = LabelledImages(images(1), labels(0))
    other = LabelledImages(np.zeros((1, 8, 8, 3), np.uint8), labels(0))
    with pytest.raises(InputError, match="must have the same shape"):
        Dataset("x", ("a", "b"), part, other, "here")
    with pytest.raises(InputError, match="test split of here contains no images"):
        Dataset("x", ("a", "b"), part, part.take(np.array([], np.int64)), "here")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[2J"])
def test_unprintable_class_names_are_refused(sample: Dataset, name: str) -> None:
    part = sample.train.take(np.flatnonzero(sample.train.labels == 0)[:3])
    with pytest.raises(InputError, match="is not printable; rename it"):
        Dataset("x", (name, "b"), part, part, "here")


def test_a_single_class_is_refused() -> None:
    part = LabelledImages(images(2), labels(0, 0))
    with pytest.raises(InputError, match="here has only one class; a classifier needs at"):
        Dataset("x", ("a",), part, part, "here")


def test_digests_depend_only_on_the_content(sample: Dataset) -> None:
    expected = hashlib.sha256(np.asarray(sample.train.images).tobytes()).hexdigest()
    assert sample.digests["train_images"] == expected
    one_byte_each = sample.train.labels.astype(np.uint8).tobytes()
    assert sample.digests["train_labels"] == hashlib.sha256(one_byte_each).hexdigest()
    assert content_digest(sample.train.images[::2]) != expected
