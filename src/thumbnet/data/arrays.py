"""Images that are arrays already: `.npz` files, and any of these at another size."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.decoding import OWN_SIZE_UP_TO, USUAL_SIZE, batched, in_parallel
from thumbnet.data.images import fit_image
from thumbnet.data.listing import SPLITS, Listing, assemble, numbered_classes
from thumbnet.data.reading import Reading
from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError, shown
from thumbnet.npz import read_npz

MAXIMUM_BYTES = 8_000_000_000
IMAGE_NAMES = ("x", "images")
LABEL_NAMES = ("y", "labels")
CHUNK = 256


def read_arrays(file: Path, reading: Reading) -> Dataset:
    """Read an `.npz` of images and labels, as Keras and MedMNIST name them.

    `x_train`, `y_train`, `x_test` and `y_test`, or `train_images`, `train_labels` and so on; with
    `val` for a validation part; without a part (`x` and `y`, or `images` and `labels`), some of
    each class are held out for the test. Images are uint8 of shape (n, height, width) or (n,
    height, width, 1 or 3), labels whole numbers or texts of shape (n,) or (n, 1). `class_names`
    may hold a name for each label from 0 on.

    Raises:
        InputError: it is damaged, or holds other arrays.
    """
    arrays = read_npz(file, MAXIMUM_BYTES)
    images: list[UInt8Array] = []
    texts: list[str] = []
    splits: list[int] = []
    for part in (None, *SPLITS):
        found = _find(arrays, IMAGE_NAMES, part)
        if found is None:
            continue
        pixels = _check_images(arrays[found], found, file)
        labels = _labels_of(arrays, part, len(pixels), file)
        images.append(pixels)
        texts += labels
        splits += [SPLITS[part or "train"]] * len(pixels)
    if not images:
        raise InputError(
            f"{shown(file)} holds no x_train or train_images; there: {', '.join(arrays) or 'none'}"
        )
    if len({one.shape[1:] for one in images}) > 1:
        raise InputError(
            f"the images of {shown(file)} have the shapes "
            f"{' and '.join(str(one.shape[1:]) for one in images)}; they must be equal"
        )
    class_names, labels_ = numbered_classes(texts)
    if "class_names" in arrays:
        class_names = _named(class_names, arrays["class_names"], file)
        labels_ = np.array(texts, np.int64)
    size = reading.image_size or _usual_size(images[0])
    every = np.concatenate(images)
    listing = Listing(
        path=file,
        title=f"arrays of {shown(file)}",
        names=[str(index) for index in range(len(every))],
        class_names=class_names,
        labels=labels_,
        splits=np.array(splits, np.int64),
    )
    return assemble(listing, resize(every, size), reading)


def resized(dataset: Dataset, reading: Reading) -> Dataset:
    """A data set without a validation part at the size that is asked for."""
    if reading.image_size is None:
        return dataset
    train, test = (
        LabelledImages(resize(np.asarray(part.images), reading.image_size), part.labels)
        for part in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test, reading=reading)


def resize(images: UInt8Array, side: int | None) -> UInt8Array:
    """Images at another height and width, in the way in which pictures are read.

    Args:
        images: uint8 array of shape (n, height, width, channels).
        side: height and width of the result; None leaves the images as they are.
    """
    if side is None or images.shape[1:3] == (side, side):
        return images
    shape = (side, side, images.shape[-1])

    def some(indices: list[int]) -> UInt8Array:
        pictures = map(_as_picture, images[indices[0] : indices[-1] + 1])
        return np.stack([fit_image(picture, shape) for picture in pictures])

    out = np.empty((len(images), *shape), np.uint8)
    done = 0
    for pixels in in_parallel(some, batched(range(len(images)), CHUNK)):
        out[done : done + len(pixels)] = pixels
        done += len(pixels)
    return out


def _usual_size(images: UInt8Array) -> int | None:
    return USUAL_SIZE if max(images.shape[1:3]) > OWN_SIZE_UP_TO else None


def _as_picture(image: UInt8Array) -> Image.Image:
    return Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)


def _find(arrays: dict[str, Any], names: tuple[str, ...], part: str | None) -> str | None:
    for name in names:
        for key in (name,) if part is None else (f"{name}_{part}", f"{part}_{name}"):
            if key in arrays:
                return key
    return None


def _check_images(array: npt.NDArray[Any], name: str, file: Path) -> UInt8Array:
    if array.ndim == 3:
        array = array[..., None]
    if (
        array.dtype != np.uint8
        or array.ndim != 4
        or array.shape[3] not in (1, 3)
        or 0 in array.shape
    ):
        raise InputError(
            f"{name} in {shown(file)} is {array.dtype} of shape {array.shape}; images must be "
            "uint8 (0 to 255) of shape (n, height, width) or (n, height, width, 1 or 3)"
        )
    return array


def _labels_of(arrays: dict[str, Any], part: str | None, count: int, file: Path) -> list[str]:
    name = _find(arrays, LABEL_NAMES, part)
    if name is None:
        raise InputError(f"{shown(file)} holds no labels for its {part or 'only'} part")
    labels = arrays[name]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iuU":
        raise InputError(
            f"{name} in {shown(file)} is {labels.dtype} of shape {arrays[name].shape}; labels must "
            f"be whole numbers or texts of shape ({count},)"
        )
    return [shown(str(label)) for label in labels.tolist()]


def _named(found: tuple[str, ...], names: npt.NDArray[Any], file: Path) -> tuple[str, ...]:
    """The class names that the file gives, once they fit the labels that occur."""
    given = tuple(shown(str(name)) for name in names.ravel().tolist())
    if names.dtype.kind != "U" or not set(found) <= {str(i) for i in range(len(given))}:
        raise InputError(
            f"class_names in {shown(file)} must be texts, one for each label from 0 on"
        )
    return given
