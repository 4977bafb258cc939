"""Labelled images, and a dataset with its training, validation and test splits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thumbnet.data.reading import OnBadImage, Reading
from thumbnet.data.sizes import ImageSizes
from thumbnet.data.stored import Images as Images
from thumbnet.data.stored import Int64Array as Int64Array
from thumbnet.data.stored import StoredImages, chunks
from thumbnet.data.stored import UInt8Array as UInt8Array
from thumbnet.errors import InputError, shown


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with one label each.

    Attributes:
        images: uint8 array of shape (n, height, width, channels), pixel values 0 to 255; or
            `StoredImages` if they do not fit into memory.
        labels: int64 array of shape (n,), indices into the dataset's class names.
        names: the printable path of each image file within the dataset, such as
            "glass/glass12.jpg". Empty if the images have no names.
        groups: int64 array of shape (n,); images with the same number belong together, such as the
            frames of one video, and are held out together. None if the images are independent.

    Raises:
        InputError: an array has the wrong shape or dtype, or the lengths differ.
    """

    images: Images
    labels: Int64Array
    names: tuple[str, ...] = ()
    groups: Int64Array | None = None

    def __post_init__(self) -> None:
        for name, value in (("images", self.images), ("labels", self.labels)):
            if not isinstance(value, np.ndarray | StoredImages):
                raise InputError(
                    f"{name} must be a NumPy array, not {type(value).__name__}; "
                    "Dataset.from_arrays converts other types"
                )
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise InputError(
                "images must be a uint8 array of shape (n, height, width, channels); "
                f"got {self.images.dtype} of shape {self.images.shape}; Dataset.from_arrays "
                "converts other types"
            )
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise InputError(
                f"labels must be an int64 array of shape ({len(self.images)},), one label per "
                f"image; got {self.labels.dtype} of shape {self.labels.shape}; "
                "Dataset.from_arrays converts other types"
            )
        if len(self.names) not in (0, len(self.images)):
            raise InputError(
                f"names must be empty or contain one name for each of the {len(self.images)} "
                f"images; got {len(self.names)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width, channels = self.images.shape[1:]
        return f"<{len(self):,} images of {height}×{width}×{channels}>"

    def take(self, indices: npt.ArrayLike) -> "LabelledImages":
        """The images at `indices` with their labels, names and groups; arrays are copied."""
        chosen = np.asarray(indices, dtype=np.int64)
        return LabelledImages(
            self.images.take(chosen, axis=0),
            self.labels[chosen],
            tuple(self.names[index] for index in chosen.tolist()) if self.names else (),
            None if self.groups is None else self.groups[chosen],
        )

    def name(self, index: int) -> str:
        """The name of an image, or its number, such as "#503", if the images have no names."""
        return self.names[index] if self.names else f"#{index}"


@dataclass(frozen=True, eq=False)
class Dataset:
    """A dataset: training, validation and test splits, and the class names.

    Attributes:
        name: its name in results, such as "cifar10".
        class_names: one name for each label.
        train: images for training and model selection.
        test: images that are read once, after training.
        source: a description of its origin, which is recorded with every run.
        path: the file or folder it was read from, if the user gave one.
        validation: images for model selection, if the dataset has a validation split; otherwise
            some of the training images are held out.
        reading: how the files were read.
        skipped: for each image that was skipped, what was wrong with it.
        sizes: the original sizes of images that were decoded from files.

    Raises:
        InputError: there are fewer than two classes, a class name cannot be printed, a label is
            out of range, or the image shapes differ.
    """

    name: str
    class_names: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages
    source: str
    path: Path | None = None
    validation: LabelledImages | None = None
    reading: Reading = field(default_factory=Reading)
    skipped: tuple[str, ...] = ()
    sizes: ImageSizes | None = None

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise InputError(
                f"{self.source} has {'only one class' if self.class_names else 'no classes'}; a "
                "classifier needs at least two"
            )
        for name in self.class_names:
            if not name.strip() or not name.isprintable():
                raise InputError(
                    f"the class name {name!r} in {self.source} is not printable; rename it"
                )
        for part_name, part in self.parts.items():
            if len(part) == 0:
                raise InputError(f"the {part_name} split of {self.source} contains no images")
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= len(self.class_names):
                raise InputError(
                    f"labels in the {part_name} split of {self.source} range from {low} to {high}; "
                    f"with {len(self.class_names)} classes they must be between 0 and "
                    f"{len(self.class_names) - 1}"
                )
            if part.images.shape[1:] != self.train.images.shape[1:]:
                raise InputError(
                    f"{self.source} has training images of shape {self.train.images.shape[1:]} and "
                    f"{part_name} images of shape {part.images.shape[1:]}; all images must have "
                    "the same shape"
                )

    @classmethod
    def from_arrays(
        cls,
        x: object,
        y: object,
        *,
        test: tuple[object, object] | None = None,
        validation: tuple[object, object] | None = None,
        class_names: Sequence[str] | None = None,
        image_size: int | None = None,
        name: str = "arrays",
    ) -> "Dataset":
        """Make a dataset from arrays, nested lists or tensors.

        Args:
            x: images of shape (n, height, width) or (n, height, width, 1 or 3). Values from 0 to
                255 are used as they are; floating-point values from 0 to 1 are scaled to 0 to 255
                with a warning.
            y: an integer or string for each image, of shape (n,) or (n, 1), as an array, a list or
                a pandas column; or one-hot rows of shape (n, classes).
            test: images and labels of the test split. By default, about 20% are held out.
            validation: images and labels of the validation split, if there is one.
            class_names: names of labels 0, 1, … By default, the labels are the names.
            image_size: height and width to resize to. By default, images up to 64 pixels keep
                their size and larger ones become 32×32.
            name: name of the dataset in results.

        Raises:
            InputError: the values are ambiguous, such as a range from -1 to 1, or the arrays do
                not match.
        """
        from thumbnet.data.arrays import dataset_from_arrays

        return dataset_from_arrays(
            x,
            y,
            test=test,
            validation=validation,
            class_names=class_names,
            image_size=image_size,
            name=name,
        )

    @classmethod
    def from_directory(
        cls,
        path: str | Path,
        *,
        image_size: int | None = None,
        on_bad_image: OnBadImage = "fail",
    ) -> "Dataset":
        """Load a folder with a subfolder for each class; see `thumbnet.load`.

        Args:
            path: the folder; the class folders may be inside train, val and test.
            image_size: height and width to resize to. By default, images keep their size if all
                have the same one, up to 64 pixels; otherwise they become 32×32.
            on_bad_image: whether to fail on an image that cannot be read, or to skip it.

        Raises:
            InputError: the folder does not exist or contains no images in this layout.
        """
        from thumbnet.data.load import load
        from thumbnet.paths import expanded

        if not expanded(path).is_dir():
            raise InputError(f"{shown(path)} is not a folder; use thumbnet.load to read a file")
        return load(path, image_size=image_size, on_bad_image=on_bad_image)

    @classmethod
    def from_huggingface(
        cls,
        dataset: object,
        *,
        image: str | None = None,
        label: str | None = None,
        image_size: int | None = None,
        on_bad_image: OnBadImage = "fail",
        name: str | None = None,
    ) -> "Dataset":
        """Convert a dataset from the Hugging Face library `datasets`.

        Args:
            dataset: a `datasets.DatasetDict` with the splits train, validation and test, or a
                `datasets.Dataset`, of which about 20% are held out for testing.
            image: the image column. By default, the column of type `Image`.
            label: the label column. By default label, labels, fine_label, class or target.
            image_size: height and width to resize to. By default, images keep their size if all
                have the same one, up to 64 pixels; otherwise they become 32×32.
            on_bad_image: whether to fail on an image that cannot be read, or to skip it.
            name: name of the dataset in results. By default, its own name.

        Raises:
            InputError: it has another type, or a column is missing.
            JobError: the cache cannot be written.
        """
        from thumbnet.data.huggingface import dataset_from_huggingface

        return dataset_from_huggingface(
            dataset,
            image=image,
            label=label,
            image_size=image_size,
            on_bad_image=on_bad_image,
            name=name,
        )

    def describe(self) -> str:
        """Name, number of images and classes, and origin, in one line."""
        counts = ", ".join(f"{len(part):,} {name}" for name, part in self.parts.items())
        height, width, channels = self.image_shape
        names = ", ".join(self.class_names[:5]) + ", …" * (len(self.class_names) > 5)
        return (
            f"{self.name}: {counts} images of {height}×{width}×{channels}, "
            f"{len(self.class_names):,} classes ({names}), from: {self.source}"
        )

    def __repr__(self) -> str:
        return f"<Dataset {self.describe()}>"

    def _repr_html_(self) -> str:
        from thumbnet.notebook import dataset_html

        return dataset_html(self)

    @property
    def parts(self) -> dict[str, LabelledImages]:
        """The existing splits by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of each image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the content of each array, independent of the file format."""
        digests = {}
        for name, part in self.parts.items():
            digests[f"{name}_images"] = content_digest(part.images)
            digests[f"{name}_labels"] = labels_digest(part.labels)
        return digests


def content_digest(images: Images) -> str:
    """SHA-256 of the images' bytes in C order."""
    digest = hashlib.sha256()
    for some in chunks(images):
        digest.update(np.ascontiguousarray(some).data)
    return digest.hexdigest()


def labels_digest(labels: Int64Array) -> str:
    """SHA-256 of the labels, as uint8 if all are below 256, otherwise as int64."""
    fits = labels.size and labels.min() >= 0 and labels.max() < 256
    return hashlib.sha256(labels.astype(np.uint8 if fits else np.int64).tobytes()).hexdigest()


def channel_histogram(images: Images) -> Int64Array:
    """Histogram of the pixel values of each channel: int64 array of shape (channels, 256).

    Mean and std follow from it without a floating-point copy of the images.
    """
    channels = images.shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for some in chunks(images):
        pixels = some.reshape(-1, channels)
        for channel in range(channels):
            histogram[channel] += np.bincount(pixels[:, channel], minlength=256)
    return histogram
