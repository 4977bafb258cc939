"""Datasets from arrays and lists in Python."""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from image_files import two_classes

from thumbnet import Dataset, InputError, LabelledImages
from thumbnet.data.stored import UInt8Array

Array = npt.NDArray[Any]


@pytest.fixture
def images(sample: Dataset) -> UInt8Array:
    """40 images of two alternating classes."""
    return np.asarray(two_classes(sample, 40)[0].images)


LABELS = [0, 1] * 20


def assert_contains(dataset: Dataset, images: UInt8Array, labels: list[Any]) -> None:
    """Check that each image has the right class name, in any split and order."""
    expected = {(image.tobytes(), str(label)) for image, label in zip(images, labels, strict=True)}
    found = {
        (image.tobytes(), dataset.class_names[label])
        for part in dataset.parts.values()
        for image, label in zip(part.images, part.labels.tolist(), strict=True)
    }
    assert found == expected


@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        np.array(LABELS, np.int32),
        np.array(LABELS, np.uint8)[:, None],
        np.array(LABELS, float),
        np.array(LABELS, bool),
        np.array(LABELS, object),
        [[label] for label in LABELS],
        tuple(map(str, LABELS)),
        np.array(list(map(str, LABELS)), object),
        np.array(list(map(str, LABELS)), "S"),
        np.eye(2)[LABELS],
        np.eye(2, dtype=np.int64)[LABELS].tolist(),
    ],
    ids=lambda labels: f"{type(labels).__name__} {getattr(labels, 'dtype', '')}",
)
def test_labels_of_all_common_types(labels: object, images: UInt8Array) -> None:
    dataset = Dataset.from_arrays(images, labels)
    assert dataset.class_names == ("0", "1")
    assert len(dataset.train) + len(dataset.test) == 40
    assert set(dataset.test.labels) == {0, 1}
    assert_contains(dataset, images, LABELS)
    assert (dataset.name, dataset.path, dataset.source) == (
        *("arrays", None),
        "arrays; no test split: about 20% of the images held out for it",
    )


def test_class_names_apply_to_numbers_and_strings(images: UInt8Array) -> None:
    names = ["dog", "cat", "cow"]
    for labels in (LABELS, [names[label] for label in LABELS], np.eye(3)[LABELS]):
        dataset = Dataset.from_arrays(images, labels, class_names=names, name="pets")
        assert dataset.class_names == ("dog", "cat", "cow")
        assert_contains(dataset, images, [names[label] for label in LABELS])
        assert dataset.name == "pets"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["list", "int64", "float32", "float of whole numbers", "bool"])
def test_images_of_all_common_types(kind: str, channels: int, images: UInt8Array) -> None:
    pixels = images[:, :6, :6, :channels]
    given: dict[str, object] = {
        "list": pixels.tolist(),
        "int64": pixels.astype(np.int64),
        "float32": pixels.astype(np.float32) / 255,
        "float of whole numbers": pixels.astype(np.float64),
        "bool": pixels > 127,
    }
    if kind == "bool":
        pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
    if kind in ("float32", "bool"):
        with pytest.warns(UserWarning, match="values from 0 to 1 were scaled to 0 to 255"):
            dataset = Dataset.from_arrays(given[kind], LABELS)
        assert "values from 0 to 1 were scaled to 0 to 255" in dataset.source
    else:
        dataset = Dataset.from_arrays(given[kind], LABELS)
    assert dataset.image_shape == (6, 6, channels)
    assert_contains(dataset, pixels, LABELS)


def test_the_given_splits_are_kept(images: UInt8Array) -> None:
    dataset = Dataset.from_arrays(
        images[:20],
        ["cat", "dog"] * 10,
        test=(images[20:30], ["cat", "dog"] * 5),
        validation=(images[30:].tolist(), np.array([["dog"], ["cat"]] * 5)),
    )
    np.testing.assert_array_equal(dataset.test.images, images[20:30])
    np.testing.assert_array_equal(dataset.test.labels, [0, 1] * 5)
    assert dataset.validation is not None
    np.testing.assert_array_equal(dataset.validation.labels, [1, 0] * 5)
    assert len(dataset.train) == 20


def test_large_images_are_resized_with_a_warning(images: UInt8Array) -> None:
    large = images.repeat(3, axis=1).repeat(3, axis=2)
    with pytest.warns(UserWarning, match="images of 96×96 were resized to 32×32; set"):
        assert Dataset.from_arrays(large, LABELS).image_shape == (32, 32, 3)
    assert Dataset.from_arrays(large, LABELS, image_size=96).image_shape == (96, 96, 3)


X = np.full((4, 8, 8), 9, np.uint8)
Y = [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("x", "y", "others", "message"),
    [
        (X - 9.5, Y, {}, "x has dtype float64 .* from -0.5 to -0.5, including fractions; pixels"),
        (X * 1.1, Y, {}, "from 9.9 to 9.9, including fractions; pixels must be"),
        (X.astype(int) * 1000, Y, {}, "x has dtype int64 with values from 9000 to 9000; pix"),
        (X // 9, Y, {}, "x has dtype uint8 with only the values 0 and 1, so 1 could mean white"),
        (np.full((4, 8, 8), np.nan), Y, {}, "x contains NaN or infinite values; replace them"),
        (X.reshape(4, 64), Y, {}, r"is a flattened image, use .reshape\(-1, 8, 8\)"),
        (np.zeros((4, 3, 8, 8)), Y, {}, r"move the channels with .transpose\(0, 2, 3, 1\)"),
        (["a.png"] * 4, Y, {}, "x has dtype <U5, which is not numeric; to load image files"),
        ([X[0], X[0, :4]] * 2, Y, {}, "x cannot be converted to an array: .* have the same shape"),
        (X, Y[:3], {}, "y has shape \\(3,\\), but there are 4 images; give one label per"),
        (X, 3, {}, "y has shape \\(\\), but there are 4"),
        (X, [0.5, 1, 0, 1], {}, "y contains fractions"),
        (X, [[1, 1], [0, 1], [1, 0], [0, 1]], {}, r"row 0 is not one-hot: \[1, 1\]; give"),
        (X, np.full((4, 2), 0.5), {}, r"row 0 is not one-hot: \[0.5, 0.5\]"),
        (X, [None, "a", "b", "a"], {}, "y has None in row 0; it must be an integer or a string"),
        (X, Y, {"class_names": ["a"]}, "y has 1 in row 1; it must be 0 to 0, or the name of a"),
        (X, ["a", "c"] * 2, {"class_names": ["a", "b"]}, "y has \'c\' in row 1; it must be 0 to 1"),
        (X, Y, {"class_names": ["a", "a"]}, "class_names contains a name twice"),
        (X, Y, {"class_names": [1, 2]}, "class_names must be strings"),
        (X, Y, {"test": X}, "test must be a pair of images and labels"),
        (X, Y, {"test": (X[:, :4], Y)}, r"shapes \(\(8, 8, 1\) of x, \(4, 8, 1\) of the im"),
        (X, Y, {"test": (X / 9, Y)}, "x from 0 to 255 and the images of test from 0 to 1; scale"),
        (X, Y, {"test": (X, [2] * 4)}, "the class 2 is in the test split of .* not in the train"),
    ],
)  # fmt: skip
def test_ambiguous_arrays_are_refused(
    x: object, y: object, others: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Dataset.from_arrays(x, y, **others)


def test_the_constructor_points_to_from_arrays() -> None:
    for images, labels in (
        (X.tolist(), Y),
        (X[..., None], Y),
        (X[..., None], np.array(Y, np.int32)),
    ):
        with pytest.raises(InputError, match=r"Dataset.from_arrays converts other types"):
            LabelledImages(images, labels)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(
    x=arrays.arrays(
        st.one_of(
            arrays.integer_dtypes(), arrays.unsigned_integer_dtypes(), arrays.floating_dtypes(),
            arrays.boolean_dtypes(), arrays.unicode_string_dtypes(max_len=3),
        ),
        arrays.array_shapes(max_dims=5, max_side=5),
    ),
    y=st.one_of(
        arrays.arrays(
            st.one_of(arrays.scalar_dtypes(), arrays.unicode_string_dtypes(max_len=3)),
            arrays.array_shapes(max_dims=3, max_side=5),
        ),
        st.lists(st.one_of(st.integers(), st.text(max_size=3), st.none(), st.floats()), max_size=5),
    ),
)  # fmt: skip
def test_any_arrays_are_accepted_or_refused(x: Array, y: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = Dataset.from_arrays(x, y)
        except InputError:
            return
    assert sum(map(len, dataset.parts.values())) == len(x)
