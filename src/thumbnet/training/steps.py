"""Enough optimizer steps for datasets that are smaller than the recipe was made for."""

import math

from thumbnet.data.dataset import Dataset
from thumbnet.recipe import Recipe
from thumbnet.training.progress import Display

FEWEST_STEPS = 240
"""Optimizer steps below which a network has hardly begun to learn, whatever it is shown."""

# Batch normalisation needs some images in a batch, and an epoch some batches.
SMALLEST_BATCH, BATCHES_PER_EPOCH = 32, 8


def planned_steps(recipe: Recipe, dataset: Dataset) -> int:
    """Optimizer steps that a recipe takes on a dataset, without stopping early."""
    return recipe.epochs * max(1, _images(recipe, dataset) // recipe.batch_size)


def long_enough(recipe: Recipe, dataset: Dataset, display: Display, *, adjust: bool) -> Recipe:
    """The recipe with enough steps for the data; a message says what changes or what is missing.

    Args:
        recipe: the recipe.
        dataset: the images that it will be trained on.
        display: shows the message.
        adjust: whether the recipe may be changed, since it is a shipped one and the user set
            neither its epochs nor its batch size. Only images from the user's files change it.
    """
    planned = planned_steps(recipe, dataset)
    # Fine-tuning starts from a working network and needs fewer.
    if planned >= FEWEST_STEPS or recipe.start.weights:
        return recipe
    if dataset.path is None or not adjust:
        display.message(
            f"{recipe.name}: only {planned} optimizer steps; use more epochs or a smaller batch "
            "size to train longer"
        )
        return recipe
    longer = with_enough_steps(recipe, dataset)
    display.message(
        f"{recipe.name}: using {longer.epochs} epochs with batch size {longer.batch_size} instead "
        f"of {recipe.epochs} with {recipe.batch_size}, which would be only {planned} optimizer "
        "steps"
    )
    return longer


def with_enough_steps(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe with smaller batches and more epochs, if it would take too few steps.

    Args:
        recipe: a shipped one, which is made for the 50,000 images of CIFAR-10.
        dataset: the images that it is to be used for.
    """
    if planned_steps(recipe, dataset) >= FEWEST_STEPS:
        return recipe
    images = _images(recipe, dataset)
    batch = min(recipe.batch_size, max(SMALLEST_BATCH, images // BATCHES_PER_EPOCH))
    epochs = max(recipe.epochs, math.ceil(FEWEST_STEPS / max(1, images // batch)))
    ghost_batches = min(recipe.ghost_batches, batch)
    return recipe.override({"batch_size": batch, "epochs": epochs, "ghost_batches": ghost_batches})


def _images(recipe: Recipe, dataset: Dataset) -> int:
    kept = 1.0 if dataset.validation is not None else 1 - recipe.validation
    return max(1, int(len(dataset.train) * kept * recipe.subset))
