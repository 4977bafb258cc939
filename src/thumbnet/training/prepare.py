"""Prepares a training: the model, the batches, the validation images."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thumbnet.augmentations import Augment, augmentation
from thumbnet.data.dataset import Dataset, Int64Array, LabelledImages
from thumbnet.data.split import stratified_split, stratified_subset
from thumbnet.engines import PREDICTION_BATCH
from thumbnet.errors import InputError
from thumbnet.models import (
    build_model,
    dtype_policy,
    gives_probabilities,
    plain_model,
    seeded,
)
from thumbnet.parallel.processes import SINGLE_PROCESS, Processes
from thumbnet.recipe import Augmentation, Recipe
from thumbnet.runs.model_file import require_known_layers
from thumbnet.runtime import computes_in, fastest_precision, make_deterministic, prepare_keras
from thumbnet.training.batches import Batches
from thumbnet.training.ghost_batches import with_ghost_batches
from thumbnet.training.hard_examples import image_losses
from thumbnet.training.optimizers import build_optimizer
from thumbnet.training.own import NOTHING, Own, cannot_be_saved, custom_model
from thumbnet.training.progress import Display
from thumbnet.training.start import adopt_normalization, source_run

if TYPE_CHECKING:
    import keras


def resolve_precision(recipe: Recipe) -> Recipe:
    """The recipe with a precision that suits this machine, if it leaves the choice open."""
    if recipe.precision != "auto":
        return recipe
    return recipe.override({"precision": fastest_precision()})


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model that is ready for its first step, and the images to train on.

    `held_out` are the indices of the validation images among the training images, or in the
    validation split of a dataset that has one. `own` are the user's custom parts.
    """

    model: "keras.Model"
    batches: Batches
    validation: LabelledImages
    held_out: Int64Array
    own: Own = NOTHING


def prepare(
    recipe: Recipe,
    dataset: Dataset,
    display: Display,
    processes: Processes = SINGLE_PROCESS,
    own: Own = NOTHING,
) -> Prepared:
    """Build the model and the batches of a recipe, and split off the validation images.

    Raises:
        InputError: the recipe does not fit the images, the devices or the other processes.
    """
    if processes.count > 1:
        processes.require_same(f"{recipe.to_toml()}{dataset.digests}", "recipe or images")
    if processes.devices > 1 and recipe.ghost_batches > 1:
        raise InputError(
            f"ghost_batches = {recipe.ghost_batches} splits batches that are already split among "
            "devices; set ghost_batches to 1, or train on one device"
        )
    display.message(f"{recipe.name}: building the model")
    if recipe.deterministic:
        make_deterministic()
    if not computes_in(recipe.precision):
        display.message(
            f"{recipe.name}: this processor has no {recipe.precision} instructions; training will "
            "be slower than with float32"
        )
    training, validation, held_out = split(recipe, dataset)
    if recipe.subset < 1:
        training = training.take(stratified_subset(training.labels, recipe.subset, recipe.seed))
    batches = Batches(
        training,
        recipe.batch_size,
        recipe.augmentation,
        recipe.seed,
        recipe.balance,
        recipe.epochs,
        recipe.hard_example_fraction,
        processes,
        augments(recipe.augmentation) | ({"own": own.augment} if own.augment else {}),
        len(dataset.class_names),
    )
    for size in batches.sizes:
        processes.require_even(size)
    model = compiled_model(recipe, training, len(dataset.class_names), own)
    if source := source_run(recipe):
        adopt_normalization(model, source)
    _require_sizes(model, batches, recipe)
    _require_reopenable(model, dataset.image_shape)
    return Prepared(model, batches, validation, held_out, own)


def split(recipe: Recipe, dataset: Dataset) -> tuple[LabelledImages, LabelledImages, Int64Array]:
    """The training and validation images of a run, before `subset` takes some of the former.

    Returns:
        Training images; validation images; and the indices of the latter, in the validation split
        of a dataset that has one, else among its training images.

    Raises:
        InputError: a class has too few images to be in both splits.
    """
    if dataset.validation is not None:
        return dataset.train, dataset.validation, np.arange(len(dataset.validation))
    indices, held_out = stratified_split(
        dataset.train.labels,
        recipe.validation,
        recipe.seed,
        dataset.train.groups,
        dataset.class_names,
    )
    if not len(held_out):
        return dataset.train, dataset.train.take(held_out), held_out  # a copy would double memory
    return dataset.train.take(indices), dataset.train.take(held_out), held_out


def augments(settings: Augmentation) -> dict[str, Augment]:
    """The augmentations of a recipe by name, in order."""
    return {name: augmentation(name).build(value) for name, value in settings.by_name().items()}


def _require_sizes(model: "keras.Model", batches: Batches, recipe: Recipe) -> None:
    """Refuse image sizes that do not fit the model.

    Raises:
        InputError: naming the size and the model.
    """
    channels = batches.data.images.shape[-1]
    for height, width in sorted({batches.image_size(epoch) for epoch in range(recipe.epochs)}):
        try:
            model.compute_output_shape((1, height, width, channels))
        except ValueError as error:
            raise InputError(
                f"augmentation.progressive_resizing makes images of {height}×{width} pixels, which "
                f"this {recipe.model.architecture} cannot take; leave out the small fractions"
            ) from error


def _require_reopenable(model: "keras.Model", image_shape: tuple[int, int, int]) -> None:
    """Refuse, before training, a model whose run could not be opened afterwards.

    Raises:
        InputError: naming the layer.
    """
    try:
        # Processes that train together must give the copy the same initial weights.
        with seeded(0):
            config = json.loads(plain_model(model, image_shape).to_json())
        require_known_layers(config)
    except Exception as error:  # a custom layer may raise anything
        raise cannot_be_saved(model, error) from error


def compiled_model(
    recipe: Recipe, training: LabelledImages, class_count: int, own: Own = NOTHING
) -> "keras.Model":
    """The model of a recipe, ready for its first step of training on one-hot labels."""
    keras = prepare_keras()
    recipe = resolve_precision(recipe)
    images, seed, precision = training.images, recipe.seed, recipe.precision
    if own.model is None:
        model = build_model(recipe.model, images, class_count, seed, precision)
    else:
        height, width, channels = images.shape[1:]
        shape = (height, width, channels)
        model = custom_model(own.model, shape, class_count, seed, precision)
    from_logits = not gives_probabilities(model)
    with dtype_policy(recipe.precision):
        model = with_ghost_batches(model, recipe.ghost_batches)
    metrics = []
    if "accuracy" in recipe.metrics:
        metrics.append(keras.metrics.CategoricalAccuracy(name="accuracy"))
    if "top_5_accuracy" in recipe.metrics:
        metrics.append(keras.metrics.TopKCategoricalAccuracy(5, name="top_5_accuracy"))
    if recipe.hard_example_fraction < 1:
        metrics.append(image_losses(max(recipe.batch_size, PREDICTION_BATCH)))
    model.compile(
        optimizer=own.optimizer or build_optimizer(recipe.optimizer),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=from_logits, label_smoothing=recipe.loss.label_smoothing
        ),
        metrics=metrics,
    )
    # Built now, so that a checkpoint can be restored before the first step.
    model.optimizer.build(model.trainable_variables)
    return model
