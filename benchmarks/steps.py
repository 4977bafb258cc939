"""Training steps of a recipe on images of any number and size, to be timed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from thumbnet import LabelledImages, Recipe, load_cifar10
from thumbnet.data.dataset import Images, Int64Array
from thumbnet.data.resizing import resize_linear
from thumbnet.training.batches import Batches
from thumbnet.training.prepare import compiled_model

CLASSES = 10
# Large enough to be as fast as any, as in the recipes.
BATCH = 512


def images_of(count: int, size: int = 32) -> LabelledImages:
    """Images of the bundled sample, at another size, and again and again where it has too few."""
    part = load_cifar10(source="sample").train.take(np.resize(np.arange(1_000), count))
    return LabelledImages(resize_linear(np.asarray(part.images), (size, size)), part.labels)


class Stepper:
    """A compiled model and the step that `thumbnet.training.loop` takes with it."""

    def __init__(self, recipe: Recipe, images: LabelledImages) -> None:
        self.model: Any = compiled_model(recipe, images, CLASSES)
        self._one_hot = np.eye(CLASSES, dtype=np.float32)

    def step(self, images: Images, labels: Int64Array) -> None:
        """One step on uint8 images (n, height, width, channels) and int64 labels (n,)."""
        self.model.train_on_batch(images, self._one_hot[labels], return_dict=True)


def constant_step(stepper: Stepper, images: LabelledImages) -> Callable[[], None]:
    """A step on the same images each time, which waits for no input."""
    return lambda: stepper.step(images.images, images.labels)


def batches_of(recipe: Recipe, images: LabelledImages) -> Batches:
    """The batches that training makes of these images."""
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
    """The recipe `cnn` at other widths, without what changes from epoch to epoch."""
    return Recipe.read("cnn").override(
        {
            "model.widths": list(widths),
            "batch_size": batch,
            "hard_example_fraction": 1.0,
            "model.filters": 0,
        }
    )
