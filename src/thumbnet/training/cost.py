"""The compute cost of training, in floating point operations: planned and actual."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from thumbnet.data.dataset import Dataset
from thumbnet.models.flops import count_training_flop
from thumbnet.recipe import Recipe
from thumbnet.training.batches import Batches
from thumbnet.training.prepare import prepare, resolve_precision
from thumbnet.training.progress import SilentDisplay

if TYPE_CHECKING:
    import keras


def planned_flop(recipe: Recipe, dataset: Dataset) -> int:
    """Floating point operations for a complete training run by a recipe.

    Raises:
        InputError: the recipe cannot be used with these images.
    """
    return planned_flop_by_epochs(recipe, dataset, [recipe.epochs])[recipe.epochs]


def planned_flop_by_epochs(
    recipe: Recipe, dataset: Dataset, epochs: Iterable[int]
) -> dict[int, int]:
    """Floating point operations for training with each of these numbers of epochs.

    Raises:
        InputError: the recipe cannot be used with these images.
    """
    prepared = prepare(resolve_precision(recipe), dataset, SilentDisplay())
    flop_by_size = flop_of_image(prepared.model, prepared.batches)
    found = {}
    for each in epochs:
        batches = replace(prepared.batches, epochs=each)
        found[each] = training_flop(batches, batches.total_steps, flop_by_size)
    return found


def flop_of_image(model: "keras.Model", batches: Batches) -> Callable[[tuple[int, int]], int]:
    """A function for the training cost of one image of a given height and width; it caches."""
    channels = batches.data.images.shape[-1]
    return cache(lambda size: count_training_flop(model, (*size, channels)))


def training_flop(
    batches: Batches, steps: int, flop_of_image: Callable[[tuple[int, int]], int]
) -> int:
    """Floating point operations of a number of steps."""
    epochs = (batches.position(step)[0] for step in range(steps))
    return batches.size * sum(flop_of_image(batches.image_size(epoch)) for epoch in epochs)
