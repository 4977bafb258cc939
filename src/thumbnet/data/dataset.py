"""The values that travel from files to training: labelled images, and a dataset of two parts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from thumbnet.data.reading import OnBadImage, Reading
from thumbnet.data.sizes import PictureSizes
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
            `StoredImages` in its place, if it would not fit into memory.
        labels: int64 array of shape (n,), indices into the dataset's class names.
        names: for each image what its owner calls it, such as "glass/glass12.jpg": the path of
            its file within the data set, as it can be printed. Empty for images without names.
        groups: int64 array of shape (n,); images of equal numbers belong together, such as the
            frames of one video, and stay in one part when some are held out. None if each image
            stands for itself.

    Raises:
        InputError: the arrays have other shapes or dtypes, or differ in length.
    """

    images: Images
    labels: Int64Array
    names: tuple[str, ...] = ()
    groups: Int64Array | None = None

    def __post_init__(self) -> None:
        for name, value in (("images", self.images), ("labels", self.labels)):
            if not isinstance(value, np.ndarray | StoredImages):
                raise InputError(
                    f"{name} must be an array, and are {type(value).__name__}; Dataset.from_arrays "
                    "takes other kinds"
                )
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise InputError(
                "images must be a uint8 array of shape (n, height, width, channels); "
                f"got {self.images.dtype} of shape {self.images.shape}; Dataset.from_arrays takes "
                "other kinds"
            )
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise InputError(
                f"labels must be an int64 array of shape ({len(self.images)},), one for each "
                f"image; got {self.labels.dtype} of shape {self.labels.shape}; "
                "Dataset.from_arrays takes other kinds"
            )
        if len(self.names) not in (0, len(self.images)):
            raise InputError(
                f"names must be one for each of the {len(self.images)} images, or none; got "
                f"{len(self.names)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width, channels = self.images.shape[1:]
        return f"<{len(self):,} images of {height}×{width}×{channels}>"

    def take(self, indices: npt.ArrayLike) -> "LabelledImages":
        """The images at `indices` with all that is known of them; images in memory are copied."""
        chosen = np.asarray(indices, dtype=np.int64)
        return LabelledImages(
            self.images.take(chosen, axis=0),
            self.labels[chosen],
            tuple(self.names[index] for index in chosen.tolist()) if self.names else (),
            None if self.groups is None else self.groups[chosen],
        )

    def name(self, index: int) -> str:
        """What to call an image: its name, or "#503" where the images have none."""
        return self.names[index] if self.names else f"#{index}"


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
        validation: images for model selection, where the data set has a part for that; without
            one, some of the training images are held out for it.
        reading: how the files were read.
        skipped: what was wrong with each picture that is left out.
        sizes: what sizes the pictures had before all got one, where they were decoded from files.

    Raises:
        InputError: there is one class only, a class name cannot be printed, a label lies outside
            the class names, or the image shapes differ.
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
    sizes: PictureSizes | None = None

    def __post_init__(self) -> None:
        if len(self.class_names) < 2:
            raise InputError(
                f"{self.source} has {'one class' if self.class_names else 'no class'}; a "
                "classifier needs two or more"
            )
        for name in self.class_names:
            if not name.strip() or not name.isprintable():
                raise InputError(
                    f"{name!r}, a class of {self.source}, cannot be printed; rename it"
                )
        for part_name, part in self.parts.items():
            if len(part) == 0:
                raise InputError(f"the {part_name} part of {self.source} holds no image")
            low, high = int(part.labels.min()), int(part.labels.max())
            if low < 0 or high >= len(self.class_names):
                raise InputError(
                    f"labels of the {part_name} part of {self.source} run from {low} to {high}; "
                    f"with {len(self.class_names)} classes they must lie in "
                    f"0 to {len(self.class_names) - 1}"
                )
            if part.images.shape[1:] != self.train.images.shape[1:]:
                raise InputError(
                    f"training images of shape {self.train.images.shape[1:]} and {part_name} "
                    f"images of shape {part.images.shape[1:]} in {self.source}: the shapes must "
                    "be equal"
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
        """A data set of images that are at hand as arrays, nested lists or tensors.

        Args:
            x: images of shape (n, height, width) or (n, height, width, 1 or 3). Numbers from 0 to
                255 are taken as they are; floating-point numbers from 0 to 1 become 0 to 255,
                with a warning.
            y: a whole number or a text for each image, of shape (n,) or (n, 1), in an array, a
                list or a column of pandas; or one-hot rows of shape (n, classes).
            test: images and labels of the test part. Without it, about 20% are held out.
            validation: images and labels of a validation part, if there is one.
            class_names: names of labels 0, 1, … By default, the labels are the names.
            image_size: height and width of the images; None for their own up to 64, else 32.
            name: what to call the data set in results.

        Raises:
            InputError: what is given leaves open what is meant, such as numbers from -1 to 1, or
                does not fit together.
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
        """A data set of a folder with a sub-folder for each class; see `thumbnet.load`.

        Args:
            path: the folder; with or without train, val and test above the classes.
            image_size: height and width of the images; None for their own where all are equal and
                up to 64, else 32.
            on_bad_image: whether a picture that cannot be read ends the job or is left out.

        Raises:
            InputError: there is no such folder, or it holds no such pictures.
        """
        from thumbnet.data.load import load
        from thumbnet.paths import expanded

        if not expanded(path).is_dir():
            raise InputError(f"{shown(path)} is not a folder; thumbnet.load reads files as well")
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
        """A data set of the Hugging Face library `datasets`.

        Args:
            dataset: a `datasets.DatasetDict` with the splits train, validation and test, or a
                `datasets.Dataset`, of which about 20% are held out for the test.
            image: the column of pictures. By default, the one of the kind `Image`.
            label: the column of labels. By default label, labels, fine_label, class or target.
            image_size: height and width of the images; None for their own where all are equal and
                up to 64, else 32.
            on_bad_image: whether a picture that cannot be read ends the job or is left out.
            name: what to call the data set in results. By default, its own name.

        Raises:
            InputError: it is something else, or lacks a column.
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
        """Its name, the numbers of images and classes, and where it came from, in one line."""
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
        """The parts that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the content of each array, whatever file it came in."""
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
    """SHA-256 of labels: a byte each where all are below 256, else eight."""
    fits = labels.size and labels.min() >= 0 and labels.max() < 256
    return hashlib.sha256(labels.astype(np.uint8 if fits else np.int64).tobytes()).hexdigest()


def channel_histogram(images: Images) -> Int64Array:
    """How often each channel has each value: int64 array of shape (channels, 256).

    Every moment follows from it without a copy of the images as floating-point numbers.
    """
    channels = images.shape[-1]
    histogram = np.zeros((channels, 256), np.int64)
    for some in chunks(images):
        pixels = some.reshape(-1, channels)
        for channel in range(channels):
            histogram[channel] += np.bincount(pixels[:, channel], minlength=256)
    return histogram
