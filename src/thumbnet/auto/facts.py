"""Facts about a dataset that are known before anything is trained."""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from thumbnet.data.dataset import Dataset
from thumbnet.data.decoding import named
from thumbnet.data.images import open_picture
from thumbnet.data.load import load, read_or_list
from thumbnet.errors import InputError

SAMPLED_FILES = 50
# Up to these numbers of images, the side in pixels to decode them to before one is chosen.
DECODED_SIDES = ((1_500, 224), (6_000, 160), (20_000, 96))
SMALLEST_DECODED_SIDE = 64


@dataclass(frozen=True)
class Facts:
    """What the recipe depends on.

    Attributes:
        images: number of training images, without those that will be held out for validation.
        classes: number of classes with training images.
        smallest_class: number of images of the smallest class.
        largest_class: number of images of the largest class.
        side: shorter side of a typical image file, in pixels.
        fixed_size: whether the images cannot be read again at another size.
        color: whether the images have more than one channel.
    """

    images: int
    classes: int
    smallest_class: int
    largest_class: int
    side: int
    fixed_size: bool
    color: bool

    @property
    def imbalance(self) -> float:
        """Size of the largest class divided by that of the smallest."""
        return self.largest_class / self.smallest_class

    @property
    def largest_useful_side(self) -> int:
        """Pixels; at a larger size this many images would take more than minutes to train on."""
        for images, side in DECODED_SIDES:
            if self.images <= images:
                return min(side, self.side)
        return min(SMALLEST_DECODED_SIDE, self.side)


def look_at(dataset: Dataset, validation: float) -> Facts:
    """Count images and classes, and find the size of the image files.

    Args:
        dataset: the images, at any size.
        validation: fraction of the training images that will be held out if the dataset has no
            validation split.
    """
    counts = np.bincount(dataset.train.labels)
    counts = counts[counts > 0]
    kept = 1.0 if dataset.validation is not None else 1 - validation
    own = min(dataset.image_shape[:2])
    side = None if dataset.reading.image_size else _file_side(dataset)
    return Facts(
        images=round(len(dataset.train) * kept),
        classes=len(counts),
        smallest_class=int(counts.min()),
        largest_class=int(counts.max()),
        side=own if side is None else side,
        fixed_size=side is None,
        color=dataset.image_shape[2] > 1,
    )


def at_size(dataset: Dataset, side: int) -> Dataset:
    """The same dataset, read again with images of `side` by `side` pixels."""
    if dataset.image_shape[:2] == (side, side):
        return dataset
    reading = dataset.reading.model_dump() | {"image_size": side}
    return load(dataset.path, **reading)


def _file_side(dataset: Dataset) -> int | None:
    """The median shorter side of a sample of the image files; None if there are no files."""
    if dataset.path is None:
        return None
    found = read_or_list(dataset.path, dataset.reading)
    if isinstance(found, Dataset):
        return None
    _, pictures = found
    every = max(1, len(pictures) // SAMPLED_FILES)
    sides = []
    for name, source in islice(named(pictures), 0, None, every):
        try:
            sides.append(min(open_picture(source, name).size))
        except InputError:  # a bad file that is skipped; the others are enough
            continue
    return int(np.median(sides)) if sides else None
