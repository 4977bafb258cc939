"""Statistics of a dataset."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from thumbnet.data.dataset import Dataset, LabelledImages, channel_histogram


@dataclass(frozen=True)
class SplitInfo:
    """Statistics of one split of a dataset.

    Attributes:
        images: number of images.
        counts: number of images of each class, by class name.
        value_range: smallest and largest pixel value.
        channel_mean: mean of each channel, with pixel values scaled to 0 to 1.
        channel_std: standard deviation of each channel, on the same scale.
    """

    images: int
    counts: dict[str, int]
    value_range: tuple[int, int]
    channel_mean: tuple[float, ...]
    channel_std: tuple[float, ...]


@dataclass(frozen=True)
class DatasetInfo:
    """Statistics of a dataset.

    Attributes:
        name: its name.
        source: a description of its origin.
        image_shape: height, width and channels.
        train: the training split.
        validation: the validation split, if there is one.
        test: the test split.
        digests: SHA-256 of the content of each array.
    """

    name: str
    source: str
    image_shape: tuple[int, int, int]
    train: SplitInfo
    validation: SplitInfo | None
    test: SplitInfo
    digests: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def describe(dataset: Dataset) -> DatasetInfo:
    """Compute the statistics of a dataset."""
    names = dataset.class_names
    return DatasetInfo(
        dataset.name,
        dataset.source,
        dataset.image_shape,
        _describe_split(dataset.train, names),
        None if dataset.validation is None else _describe_split(dataset.validation, names),
        _describe_split(dataset.test, names),
        dataset.digests,
    )


def _describe_split(part: LabelledImages, class_names: tuple[str, ...]) -> SplitInfo:
    counts = np.bincount(part.labels, minlength=len(class_names)).tolist()
    histogram = channel_histogram(part.images)
    values = np.flatnonzero(histogram.sum(axis=0))
    fractions = histogram / histogram.sum(axis=1, keepdims=True)
    scale = np.arange(256) / 255
    mean = fractions @ scale
    std = np.sqrt(fractions @ scale**2 - mean**2)
    return SplitInfo(
        len(part),
        dict(zip(class_names, counts, strict=True)),
        (int(values[0]), int(values[-1])),
        tuple(mean.tolist()),
        tuple(std.tolist()),
    )
