"""Datasets from arrays: in `.npz` files, and in Python."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from thumbnet.data.assembly import assemble
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.decoding import OWN_SIZE_UP_TO, USUAL_SIZE, batched, in_parallel
from thumbnet.data.images import fit_image
from thumbnet.data.labels import LabelColumn, number_labels
from thumbnet.data.listing import SPLITS, TEST, TRAIN, VALIDATION, Listing
from thumbnet.data.pixels import as_pixels
from thumbnet.data.reading import Reading
from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError, shown
from thumbnet.npz import read_npz

MAXIMUM_BYTES = 8_000_000_000
IMAGE_NAMES = ("x", "images")
LABEL_NAMES = ("y", "labels")
CHUNK = 256

Part = tuple[object, object]
"""Images and labels, of any type that `dataset_from_arrays` accepts."""


def read_arrays(file: Path, reading: Reading) -> Dataset:
    """Read an `.npz` file of images and labels, named as in Keras or MedMNIST.

    The arrays are `x_train`, `y_train`, `x_test` and `y_test`, or `train_images`, `train_labels`
    and so on, with `val` for a validation split. Without splits (`x` and `y`, or `images` and
    `labels`), some images of each class are held out for testing. Images and labels may be
    anything that `dataset_from_arrays` accepts. `class_names` may contain the names of labels 0,
    1, …

    Raises:
        InputError: the file is damaged, or these arrays are missing.
    """
    arrays = read_npz(file, MAXIMUM_BYTES)
    parts = []
    for word in (None, *SPLITS):
        images = _find(arrays, IMAGE_NAMES, word)
        if images is None:
            continue
        labels = _find(arrays, LABEL_NAMES, word)
        if labels is None:
            raise InputError(f"{shown(file)} has no labels for its {word or 'only'} split")
        parts.append((SPLITS[word or "train"], images, labels))
    if not parts:
        raise InputError(
            f"{shown(file)} has no array x_train or train_images (its arrays: "
            f"{', '.join(arrays) or 'none'})"
        )
    return _assemble(
        [
            (split, f"{x} in {shown(file)}", arrays[x], f"{y} in {shown(file)}", arrays[y])
            for split, x, y in parts
        ],
        arrays.get("class_names"),
        reading,
        file,
        f"arrays of {shown(file)}",
    )[0]


def dataset_from_arrays(
    x: object,
    y: object,
    *,
    test: Part | None = None,
    validation: Part | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    name: str = "arrays",
) -> Dataset:
    """See `Dataset.from_arrays`."""
    reading = Reading.check({"image_size": image_size})
    parts = [(TRAIN, "x", x, "y", y)]
    for split, part, word in ((VALIDATION, validation, "validation"), (TEST, test, "test")):
        if part is None:
            continue
        if not isinstance(part, tuple | list) or len(part) != 2:
            raise InputError(f"{word} must be a pair of images and labels: ({word}_x, {word}_y)")
        parts.append((split, f"the images of {word}", part[0], f"the labels of {word}", part[1]))
    dataset, said = _assemble(parts, class_names, reading, Path(name), "arrays")
    if said:
        # Point at the line that calls Dataset.from_arrays.
        warnings.warn(f"Dataset.from_arrays: {'; '.join(said)}", stacklevel=3)
    return replace(dataset, name=shown(name), path=None)


def resized(dataset: Dataset, reading: Reading) -> Dataset:
    """Resize a dataset without a validation split to `reading.image_size`."""
    if reading.image_size is None:
        return dataset
    train, test = (
        LabelledImages(resize(np.asarray(part.images), reading.image_size), part.labels)
        for part in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test, reading=reading)


def resize(images: UInt8Array, shape: tuple[int, int, int] | int | None) -> UInt8Array:
    """Resize images in the same way as images read from files.

    Args:
        images: uint8 array of shape (n, height, width, channels).
        shape: height, width and channels of the result, or one number for height and width; None
            leaves the images unchanged.
    """
    if isinstance(shape, int):
        shape = (shape, shape, images.shape[-1])
    if shape is None or images.shape[1:] == shape:
        return images

    def some(indices: list[int]) -> UInt8Array:
        pictures = map(_as_pillow, images[indices[0] : indices[-1] + 1])
        return np.stack([fit_image(picture, shape) for picture in pictures])

    out = np.empty((len(images), *shape), np.uint8)
    done = 0
    for pixels in in_parallel(some, batched(range(len(images)), CHUNK)):
        out[done : done + len(pixels)] = pixels
        done += len(pixels)
    return out


def _assemble(
    parts: Sequence[tuple[int, str, object, str, object]],
    class_names: Any,
    reading: Reading,
    path: Path,
    title: str,
) -> tuple[Dataset, tuple[str, ...]]:
    """The dataset, and descriptions of what was converted.

    Each of `parts` is (split, title of the images, images, title of the labels, labels).
    """
    pixels, said = as_pixels({x_title: x for _, x_title, x, _, _ in parts})
    names = _checked_names(class_names)
    columns = [
        label_column(labels, labels_title, names, len(pixels[images_title]))
        for _, images_title, _, labels_title, labels in parts
    ]
    found_names, labels = number_labels(columns)
    every = np.concatenate(list(pixels.values()))
    size = reading.image_size
    if size is None and max(every.shape[1:3]) > OWN_SIZE_UP_TO:
        size = USUAL_SIZE
        said = (
            *said,
            f"images of {every.shape[1]}×{every.shape[2]} were resized to {size}×{size}; set "
            "image_size for another size",
        )
    listing = Listing(
        path=path,
        title="; ".join((title, *said)),
        names=[str(index) for index in range(len(every))],
        class_names=found_names,
        labels=labels,
        splits=np.repeat(
            np.array([split for split, *_ in parts], np.int64),
            [len(one) for one in pixels.values()],
        ),
    )
    return assemble(listing, resize(every, size), reading), said


def label_column(labels: object, title: str, names: tuple[str, ...], count: int) -> LabelColumn:
    """Convert labels of any common type to one integer or string per image.

    Args:
        labels: integers or strings of shape (n,) or (n, 1), as an array, a list or a pandas
            column, or one-hot rows of shape (n, classes).
        title: their name in messages.
        names: class names in the order of the integer labels; empty if unknown.
        count: number of images.

    Raises:
        InputError: the labels have another type or shape.
    """
    try:
        array = np.asarray(labels)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{title} cannot be converted to an array: {error}") from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if len(array.shape) == 0 or len(array) != count:
        raise InputError(
            f"{title} has shape {array.shape}, but there are {count:,} images; give one label per "
            "image"
        )
    if array.ndim == 2:
        array, classes = _from_one_hot(array, title), array.shape[1]
        names = names or tuple(map(str, range(classes)))
    if array.ndim != 1:
        raise InputError(f"{title} has shape {array.shape}; give one label per image")
    if array.dtype == bool:
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        raise InputError(f"{title} contains fractions; labels must be integers or strings")
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "backslashreplace")
    if array.dtype.kind not in "iufUO":
        raise InputError(f"{title} has dtype {array.dtype}; labels must be integers or strings")
    values = [v.item() if isinstance(v, np.generic) else v for v in array.tolist()]
    return LabelColumn(title, values, names)


def _from_one_hot(rows: npt.NDArray[Any], title: str) -> npt.NDArray[np.int64]:
    is_one = rows == 1
    one_hot = (is_one | (rows == 0)).all(axis=1) & (is_one.sum(axis=1) == 1)
    if not one_hot.all():
        row = int(np.argmin(one_hot))
        raise InputError(
            f"{title} has shape {rows.shape}, and row {row} is not one-hot: "
            f"{rows[row].tolist()!r:.60}; give one label per image, or one-hot rows"
        )
    return np.asarray(is_one.argmax(axis=1), np.int64)


def _checked_names(names: Any) -> tuple[str, ...]:
    if names is None:
        return ()
    given = np.asarray(names).ravel().tolist()
    if not given or not all(isinstance(name, str) for name in given):
        raise InputError("class_names must be strings, one for each label 0, 1, …")
    if len(set(given)) < len(given):
        raise InputError("class_names contains a name twice; class names must be unique")
    return tuple(map(shown, given))


def _as_pillow(image: UInt8Array) -> Image.Image:
    return Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)


def _find(arrays: Mapping[str, Any], names: tuple[str, ...], part: str | None) -> str | None:
    for name in names:
        for key in (name,) if part is None else (f"{name}_{part}", f"{part}_{name}"):
            if key in arrays:
                return key
    return None
