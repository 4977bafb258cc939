"""Training images as the network sees them: cropped, flipped, mixed and so on by the recipe."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import Dataset
from thumbnet.report.result import Result
from thumbnet.report.thumbnails import data_uri
from thumbnet.training.batches import Batches
from thumbnet.training.prepare import augments

COUNT = 12
_MENTIONED = 0.05  # classes with a smaller part of a mixed label are left out


@dataclass(frozen=True)
class AugmentedImage:
    """An augmented training image, and its label in words."""

    uri: str
    label: str


def augmented_images(result: Result, dataset: Dataset) -> list[AugmentedImage]:
    """A batch of the run's last epoch; empty if `dataset` is not what it was trained on."""
    if result.environment.data.digests != dataset.digests:
        return []
    recipe, names = result.recipe, dataset.class_names
    trained = np.ones(len(dataset.train), bool)
    validation = result.run.validation_predictions()
    if validation is not None and dataset.validation is None:
        trained[validation.ids] = False
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(trained))[:COUNT]
    batches = Batches(
        dataset.train.take(np.sort(chosen)),
        COUNT,
        recipe.augmentation,
        recipe.seed,
        epochs=recipe.epochs,
        augments=augments(recipe.augmentation),
        class_count=len(names),
    )
    images, labels = next(batches.epoch(recipe.epochs - 1))
    return [
        AugmentedImage(data_uri(image), _describe(label, names))
        for image, label in zip(images, labels, strict=True)
    ]


def _describe(label: npt.ArrayLike, names: Sequence[str]) -> str:
    """A class, or the classes that were mixed with their proportions."""
    parts = np.asarray(label, np.float64)
    if parts.ndim == 0:
        return names[int(parts)]
    mixed = [int(number) for number in np.argsort(-parts) if parts[number] >= _MENTIONED]
    if len(mixed) == 1:
        return names[mixed[0]]
    return ", ".join(f"{parts[number]:.0%} {names[number]}" for number in mixed)
