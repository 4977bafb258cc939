"""The arithmetic of training: what a recipe will cost, and what a run did cost."""

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
    """Floating point operations that training by a recipe would take, start to end.

    Raises:
        InputError: the recipe cannot be used with these images.
    """
    return planned_flop_by_epochs(recipe, dataset, [recipe.epochs])[recipe.epochs]


def planned_flop_by_epochs(
    recipe: Recipe, dataset: Dataset, epochs: Iterable[int]
) -> dict[int, int]:
    """What training would take with each of these numbers of epochs in place of the recipe's own.

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
    """What one image of a height and width costs in training; each size is counted once."""
    channels = batches.data.images.shape[-1]
    return cache(lambda size: count_training_flop(model, (*size, channels)))


def training_flop(
    batches: Batches, steps: int, flop_of_image: Callable[[tuple[int, int]], int]
) -> int:
    """Floating point operations of so many steps."""
    epochs = (batches.position(step)[0] for step in range(steps))
    return batches.size * sum(flop_of_image(batches.image_size(epoch)) for epoch in epochs)
