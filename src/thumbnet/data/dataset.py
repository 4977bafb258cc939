"""The values that travel from files to training: labelled images, and a dataset of two parts."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thumbnet.errors import InputError

UInt8Array = npt.NDArray[np.uint8]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with one label each.

    Attributes:
        images: uint8 array of shape (n, height, width, channels), pixel values 0 to 255.
        labels: int64 array of shape (n,), indices into the dataset's class names.

    Raises:
        InputError: the arrays have other shapes or dtypes, or differ in length.
    """

    images: UInt8Array
    labels: Int64Array

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise InputError(
                "images must be a uint8 array of shape (n, height, width, channels); "
                f"got {self.images.dtype} of shape {self.images.shape}"
            )
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise InputError(
                f"labels must be an int64 array of shape ({len(self.images)},), one for each "
                f"image; got {self.labels.dtype} of shape {self.labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: npt.ArrayLike) -> "LabelledImages":
        """The images and labels at `indices`, copied."""
        chosen = np.asarray(indices, dtype=np.int64)
        return LabelledImages(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: training and test images, kept apart, with the names of the classes.

    Attributes:
        name: what it is called in results, such as "cifar10".
        class_names: one name for each label value.
        train: images that training and model selection may look at.
        test: images that are read once, at the end.
        source: where it came from, in words that are recorded with every run.
        path: the file or folder it was read from, where the user named one.

    Raises:
        InputError: a label lies outside the class names, or the image shapes differ.
    """

    name: str
    class_names: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages
    source: str
    path: Path | None = None

    def __post_init__(self) -> None:
        for part_name, part in (("train", self.train), ("test", self.test)):
            if len(part) == 0:
                raise InputError(f"the {part_name} part of {self.source} holds no image")
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= len(self.class_names):
                raise InputError(
                    f"labels of the {part_name} part of {self.source} run from {low} to {high}; "
                    f"with {len(self.class_names)} classes they must lie in "
                    f"0 to {len(self.class_names) - 1}"
                )
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise InputError(
                f"training images of shape {self.train.images.shape[1:]} and test images of "
                f"shape {self.test.images.shape[1:]} in {self.source}: the shapes must be equal"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the content of each array, whatever file it came in."""
        return {
            "train_images": content_digest(self.train.images),
            "train_labels": content_digest(self.train.labels),
            "test_images": content_digest(self.test.images),
            "test_labels": content_digest(self.test.labels),
        }


def content_digest(array: npt.NDArray[np.generic]) -> str:
    """SHA-256 of an array's bytes in C order; labels below 256 count one byte each."""
    if array.dtype == np.int64 and array.size and array.min() >= 0 and array.max() < 256:
        array = array.astype(np.uint8)
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
