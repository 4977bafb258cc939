"""From a recipe and a dataset to a run: what is made ready, trained, and left behind."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thumbnet.atomic import remove_leftovers
from thumbnet.batches import Batches
from thumbnet.bench.machine import sgemm_gflops
from thumbnet.checkpoints import Weights, set_weights
from thumbnet.data.dataset import Dataset, Int64Array, LabelledImages
from thumbnet.data.split import stratified_split, stratified_subset
from thumbnet.distributed import ALONE, Processes
from thumbnet.efficiency import count_training_flop
from thumbnet.engines import PREDICTION_BATCH
from thumbnet.errors import InputError, JobError, JobInterruptedError
from thumbnet.image_losses import image_losses
from thumbnet.loop import Job, restore_state, run_epochs
from thumbnet.model_card import write_model_card
from thumbnet.models import build_model
from thumbnet.optimizers import build_optimizer
from thumbnet.parts import in_parts
from thumbnet.progress import Display, SilentDisplay, choose_display
from thumbnet.recipe import Recipe
from thumbnet.results import write_results
from thumbnet.run import Run
from thumbnet.runtime import (
    computes_in,
    describe_environment,
    fastest_precision,
    is_out_of_memory,
    make_deterministic,
    prepare_keras,
)

if TYPE_CHECKING:
    import keras

# What may be set anew when a run is resumed: it changes the steps to come, not what they mean.
RESUMABLE_SETTINGS = (
    "optimizer.learning_rate",
    "stopping.patience",
    "stopping.budget_seconds",
    "stopping.until_accuracy",
)


def train(
    recipe: Recipe | str | Path,
    dataset: Dataset,
    out: str | Path,
    display: Display | None = None,
    processes: Processes = ALONE,
) -> Run:
    """Train one model and write its run directory.

    Args:
        recipe: a recipe, the name of a shipped one, or the path of a file.
        dataset: the images; its test part is read once, after training.
        out: a directory that is empty or does not exist.
        display: what shows the progress; by default a live line on a terminal and a plain line
            an epoch elsewhere, on standard error.
        processes: those that train this run together, each of which calls this; `out` comes from
            `Processes.mirrored`.

    Returns:
        The finished run; only of rank 0 does it hold the results.

    Raises:
        InputError: a recipe that cannot be used, or a directory that is not empty.
        JobError: the loss is no longer finite, the disk is full, the memory is not enough,
            another process trains this run, or Ctrl-C was pressed. The run can be resumed.
    """
    recipe = _settled(recipe if isinstance(recipe, Recipe) else Recipe.read(recipe))
    display = display or choose_display()
    # What cannot be trained leaves no directory behind.
    Run.require_free(out)
    prepared = _prepare(recipe, dataset, display, processes)
    run = Run(Path(out))
    with run.alone():
        run.begin(
            recipe,
            describe_environment()
            | {
                "seed": recipe.seed,
                "processes": processes.count,
                "data": {
                    "name": dataset.name,
                    "source": dataset.source,
                    "path": str(dataset.path.resolve()) if dataset.path else None,
                    "reading": dataset.reading.model_dump(),
                    "digests": dataset.digests,
                    "class_names": list(dataset.class_names),
                },
            },
        )
        return _train(run, recipe, dataset, prepared, display, processes)


def _settled(recipe: Recipe) -> Recipe:
    """The recipe with what it leaves to the machine decided."""
    if recipe.precision != "auto":
        return recipe
    return recipe.override({"precision": fastest_precision()})


def resume(
    run: Run | str | Path,
    dataset: Dataset,
    display: Display | None = None,
    settings: Mapping[str, Any] | None = None,
    processes: Processes = ALONE,
) -> Run:
    """Go on with a run that was stopped, from its last checkpoint, as if it had not been.

    Args:
        run: the run; one that is finished is returned as it is.
        dataset: the same images as before.
        display: as in `train`.
        settings: values of the recipe to replace from here on, by their dotted keys; only
            `RESUMABLE_SETTINGS`. They are saved with the run.
        processes: as in `train`; there may be more or fewer than before.

    Raises:
        InputError: the images are others than before, a setting cannot be replaced, or no
            checkpoint is sound.
        JobError: as in `train`.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if fixed := [key for key in settings or {} if key not in RESUMABLE_SETTINGS]:
        raise InputError(
            f"{', '.join(fixed)} cannot be changed when a run is resumed, only "
            f"{', '.join(RESUMABLE_SETTINGS)}; begin anew with --overwrite"
        )
    if run.environment()["data"]["digests"] != dataset.digests:
        raise InputError(
            f"{run.path} was begun with other images than those of: {dataset.source}; resume it "
            "with the same data, or begin anew with --overwrite"
        )
    if run.finished:
        if processes.rank == 0 and not run.model_card_path.is_file():
            write_model_card(run)
        return run
    with run.alone():
        recipe, display = run.recipe(), display or choose_display()
        if settings:
            recipe = recipe.override(settings)
            run.change_recipe(recipe, settings)
        for directory in (run.path, run.checkpoints_path, run.figures_path):
            remove_leftovers(directory)
        prepared = _prepare(recipe, dataset, display, processes)
        return _train(run, recipe, dataset, prepared, display, processes)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A model that is ready for its first step, and the images that it will see.

    `held_out` are the indices of the validation images among the training images, or in the
    validation part of a data set that has one.
    """

    model: "keras.Model"
    batches: Batches
    validation: LabelledImages
    held_out: Int64Array


def _prepare(
    recipe: Recipe, dataset: Dataset, display: Display, processes: Processes = ALONE
) -> _Prepared:
    if processes.count > 1:
        processes.require_same(f"{recipe.to_toml()}{dataset.digests}", "a recipe or images")
    if processes.devices > 1 and recipe.parts > 1:
        raise InputError(
            f"parts = {recipe.parts} cuts batches that several devices share already; set parts "
            "to 1, or train on one"
        )
    display.message(f"{recipe.name}: building the model")
    if recipe.deterministic:
        make_deterministic()
    if not computes_in(recipe.precision):
        display.message(
            f"{recipe.name}: this processor has no arithmetic for {recipe.precision}, which will "
            "be slower than float32"
        )
    if dataset.validation is not None:
        training, validation = dataset.train, dataset.validation
        held_out = np.arange(len(validation))
    else:
        indices, held_out = stratified_split(dataset.train.labels, recipe.validation, recipe.seed)
        # All of them would be the same images once more in memory.
        training = dataset.train.take(indices) if len(held_out) else dataset.train
        validation = dataset.train.take(held_out)
    if recipe.subset < 1:
        training = training.take(stratified_subset(training.labels, recipe.subset, recipe.seed))
    batches = Batches(
        training,
        recipe.batch_size,
        recipe.augmentation,
        recipe.seed,
        recipe.balance,
        recipe.epochs,
        recipe.revisit,
        processes,
    )
    for size in batches.sizes:
        processes.require_even(size)
    model = compiled_model(recipe, training, len(dataset.class_names))
    _require_sizes(model, batches, recipe)
    return _Prepared(model, batches, validation, held_out)


def _require_sizes(model: "keras.Model", batches: Batches, recipe: Recipe) -> None:
    """Refuse images of a size that the model cannot take.

    Raises:
        InputError: naming the size and the model.
    """
    channels = batches.data.images.shape[-1]
    for height, width in sorted({batches.image_size(epoch) for epoch in range(recipe.epochs)}):
        try:
            model.compute_output_shape((1, height, width, channels))
        except ValueError as error:
            raise InputError(
                f"augmentation.scales makes images of {height}×{width} pixels, which this "
                f"{recipe.model.architecture} cannot take; leave small scales out"
            ) from error


def _train(
    run: Run,
    recipe: Recipe,
    dataset: Dataset,
    prepared: _Prepared,
    display: Display,
    processes: Processes,
) -> Run:
    model = prepared.model
    state, best_weights, restored = restore_state(run, model)
    losses = _image_losses(recipe, len(prepared.batches.data), restored)
    ceiling = float(processes.gather(sgemm_gflops()).sum())
    job = Job(
        run=run,
        recipe=recipe,
        model=model,
        batches=prepared.batches,
        validation=prepared.validation,
        one_hot=np.eye(len(dataset.class_names), dtype=np.float32),
        state=state,
        best_weights=best_weights,
        losses=losses,
        display=display,
        seconds_before=state.seconds,
        processes=processes,
    )
    with _kept_for_later(run):
        try:
            run_epochs(job)
            if best_weights:
                set_weights(model, best_weights)
        except JobInterruptedError:
            processes.leave()
            raise
        processes.leave()
        if processes.rank:
            return run
        display.message(f"{recipe.name}: {state.stopped}; evaluating on the test images")
        cost = {
            "train_flops": _training_flop(
                prepared.batches, state.step, _flop_of_image(model, prepared.batches)
            ),
            "sgemm_gflops": ceiling,
            "sgemm_tflop": state.seconds * ceiling / 1000,
        }
        write_results(job, dataset, prepared.held_out, cost)
    return run


def _image_losses(recipe: Recipe, images: int, restored: Weights) -> Weights:
    """What `Job.losses` begins with: what a checkpoint held, or every image among the hardest.

    Raises:
        InputError: the checkpoint held losses of other images.
    """
    if recipe.revisit == 1:
        return {}
    unseen = np.full(images, np.inf, np.float32)
    losses = {"latest": unseen, "ranked": unseen.copy()} | restored
    if any(array.shape != (images,) or array.dtype != np.float32 for array in losses.values()):
        raise InputError("the checkpoint holds losses of other images; begin anew with --overwrite")
    return losses


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
    prepared = _prepare(_settled(recipe), dataset, SilentDisplay())
    flop_of_image = _flop_of_image(prepared.model, prepared.batches)
    found = {}
    for each in epochs:
        batches = replace(prepared.batches, epochs=each)
        found[each] = _training_flop(batches, batches.total_steps, flop_of_image)
    return found


def _flop_of_image(model: "keras.Model", batches: Batches) -> Callable[[tuple[int, int]], int]:
    """What one image of a height and width costs in training; each size is counted once."""
    channels = batches.data.images.shape[-1]
    return cache(lambda size: count_training_flop(model, (*size, channels)))


def _training_flop(
    batches: Batches, steps: int, flop_of_image: Callable[[tuple[int, int]], int]
) -> int:
    """Floating point operations of so many steps."""
    epochs = (batches.position(step)[0] for step in range(steps))
    return batches.size * sum(flop_of_image(batches.image_size(epoch)) for epoch in epochs)


@contextmanager
def _kept_for_later(run: Run) -> Iterator[None]:
    """Have every failure say how to go on."""
    way_on = f"go on with `thumbnet train --resume {run.path}`"
    try:
        yield
    except JobError as error:
        raise type(error)(f"{error}; {way_on}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise JobError(
            f"the memory is not enough: close other programs and {way_on}, or begin anew with a "
            "smaller batch_size"
        ) from error


def compiled_model(recipe: Recipe, training: LabelledImages, class_count: int) -> "keras.Model":
    """The model of a recipe, ready for its first step of training on one-hot labels."""
    keras = prepare_keras()
    recipe = _settled(recipe)
    model = in_parts(
        build_model(recipe.model, training.images, class_count, recipe.seed, recipe.precision),
        recipe.parts,
    )
    metrics = []
    if "accuracy" in recipe.metrics:
        metrics.append(keras.metrics.CategoricalAccuracy(name="accuracy"))
    if "top_5_accuracy" in recipe.metrics:
        metrics.append(keras.metrics.TopKCategoricalAccuracy(5, name="top_5_accuracy"))
    if recipe.revisit < 1:
        metrics.append(image_losses(max(recipe.batch_size, PREDICTION_BATCH)))
    model.compile(
        optimizer=build_optimizer(recipe.optimizer),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.loss.label_smoothing
        ),
        metrics=metrics,
    )
    # Built now, so that a checkpoint can be restored before the first step.
    model.optimizer.build(model.trainable_variables)
    return model
