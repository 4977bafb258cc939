"""Training steps of a recipe on images of any number and size, for timing."""

from collections.abc import Callable
from typing import Any

import numpy as np

from thumbnet import LabelledImages, Recipe, load_cifar10
from thumbnet.data.dataset import Images, Int64Array
from thumbnet.data.resizing import resize_linear
from thumbnet.training.batches import Batches
from thumbnet.training.prepare import compiled_model

CLASSES = 10
# As in the recipes; a larger batch is not faster.
BATCH = 512


def images_of(count: int, size: int = 32) -> LabelledImages:
    """Images of the bundled sample, resized, and repeated as often as needed."""
    part = load_cifar10(source="sample").train.take(np.resize(np.arange(1_000), count))
    return LabelledImages(resize_linear(np.asarray(part.images), (size, size)), part.labels)


class Stepper:
    """A compiled model and a training step as in `thumbnet.training.loop`."""

    def __init__(self, recipe: Recipe, images: LabelledImages) -> None:
        self.model: Any = compiled_model(recipe, images, CLASSES)
        self._one_hot = np.eye(CLASSES, dtype=np.float32)

    def step(self, images: Images, labels: Int64Array) -> None:
        """One step on uint8 images (n, height, width, channels) and int64 labels (n,)."""
        self.model.train_on_batch(images, self._one_hot[labels], return_dict=True)


def constant_step(stepper: Stepper, images: LabelledImages) -> Callable[[], None]:
    """A step on the same images each time, so that no time is spent on input."""
    return lambda: stepper.step(images.images, images.labels)


def batches_of(recipe: Recipe, images: LabelledImages) -> Batches:
    """The batches of these images, as in training."""
    return Batches(
        images,
        recipe.batch_size,
        recipe.augmentation,
        recipe.seed,
        recipe.balance,
        recipe.epochs,
        recipe.hard_example_fraction,
    )


def plain_recipe(widths: tuple[int, ...], batch: int = BATCH) -> Recipe:
    """The recipe `cnn` with other widths, without anything that changes between epochs."""
    return Recipe.read("cnn").override(
        {
            "model.widths": list(widths),
            "batch_size": batch,
            "hard_example_fraction": 1.0,
            "model.filters": 0,
        }
    )
