"""Writing real images to files in common layouts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from thumbnet.data.dataset import Dataset, LabelledImages

PETS = {"cat": 3, "dog": 5}
"""Two classes of the sample and their labels in it."""


def write_classes(
    folder: Path,
    part: LabelledImages,
    counts: Mapping[str, int],
    first: int = 0,
    suffix: str = ".png",
    **options: object,
) -> list[Path]:
    """Write images of each class to its own folder: the given count, starting at `first`."""
    written = []
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        members = np.flatnonzero(part.labels == PETS[name])
        for number, index in enumerate(members[first : first + count], start=first):
            path = folder / name / f"{number:04}{suffix}"
            Image.fromarray(part.images[int(index)]).save(path, **options)  # type: ignore[arg-type]
            written.append(path)
    return written


def two_classes(sample: Dataset, count: int) -> tuple[LabelledImages, Sequence[str]]:
    """The first images of two classes, alternating and labelled 0 and 1, and the class names."""
    members = [np.flatnonzero(sample.train.labels == label)[: count // 2] for label in (3, 5)]
    chosen = np.stack(members, axis=1).ravel()
    labels = np.tile(np.array([0, 1], np.int64), count // 2)
    return LabelledImages(sample.train.images.take(chosen, axis=0), labels), tuple(PETS)
