"""From a recipe and a dataset to a run: the loop, what ends it, and what it leaves behind."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thumbnet.batches import Batches
from thumbnet.checkpoints import (
    read_variables,
    restore_checkpoint,
    save_checkpoint,
    write_variables,
)
from thumbnet.data.dataset import Dataset, Int64Array, LabelledImages
from thumbnet.data.split import stratified_split
from thumbnet.engines import PREDICTION_BATCH
from thumbnet.errors import InputError, JobError
from thumbnet.interruption import Interruption
from thumbnet.models import build_model
from thumbnet.optimizers import build_optimizer, learning_rate_share
from thumbnet.progress import Display, choose_display
from thumbnet.recipe import Recipe
from thumbnet.results import write_results
from thumbnet.run import Run
from thumbnet.runtime import describe_environment, prepare_keras

if TYPE_CHECKING:
    import keras


@dataclass
class TrainingState:
    """What a checkpoint holds beside the weights.

    Attributes:
        step: steps taken.
        seconds: training time so far, over all sittings.
        sums: of each metric over the steps of the epoch that is under way.
        history: one row for each finished epoch.
        best_accuracy: the highest validation accuracy so far.
        best_epoch: the epoch that reached it, counted from 1.
        stopped: why the run is over; empty while it is not.
    """

    step: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best_accuracy: float = 0.0
    best_epoch: int = 0
    stopped: str = ""


def train(
    recipe: Recipe | str | Path,
    dataset: Dataset,
    out: str | Path,
    display: Display | None = None,
) -> Run:
    """Train one model and write its run directory.

    Args:
        recipe: a recipe, the name of a shipped one, or the path of a file.
        dataset: the images; its test part is read once, after training.
        out: a directory that is empty or does not exist.
        display: what shows the progress; by default a live line on a terminal and a plain line
            an epoch elsewhere, on standard error.

    Returns:
        The finished run.

    Raises:
        InputError: a recipe that cannot be used, or a directory that is not empty.
        JobError: the loss is no longer finite, the disk is full, or Ctrl-C was pressed. The run
            can be resumed.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    display = display or choose_display()
    # What cannot be trained leaves no directory behind.
    Run.require_free(out)
    prepared = _prepare(recipe, dataset, display)
    run = Run.create(out, recipe)
    run.write_environment(
        describe_environment()
        | {
            "seed": recipe.seed,
            "data": {
                "name": dataset.name,
                "source": dataset.source,
                "path": str(dataset.path.resolve()) if dataset.path else None,
                "reading": dataset.reading.model_dump(),
                "digests": dataset.digests,
                "class_names": list(dataset.class_names),
            },
        }
    )
    return _train(run, recipe, dataset, prepared, display)


def resume(run: Run | str | Path, dataset: Dataset, display: Display | None = None) -> Run:
    """Go on with a run that was stopped, from its last checkpoint, as if it had not been.

    Args:
        run: the run; one that is finished is returned as it is.
        dataset: the same images as before.
        display: as in `train`.

    Raises:
        InputError: the images are others than before, or the checkpoints cannot be read.
        JobError: as in `train`.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    before = run.environment().get("data", {}).get("digests")
    if before != dataset.digests:
        raise InputError(
            f"{run.path} was begun with other images than those of: {dataset.source}; resume it "
            "with the same data, or begin anew with --overwrite"
        )
    if run.finished:
        return run
    recipe, display = run.recipe(), display or choose_display()
    return _train(run, recipe, dataset, _prepare(recipe, dataset, display), display)


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


@dataclass(frozen=True, eq=False)
class _Job:
    """What stays the same while a run is trained; `state` is what changes."""

    run: Run
    recipe: Recipe
    model: "keras.Model"
    batches: Batches
    validation: LabelledImages
    one_hot: npt.NDArray[np.float32]
    state: TrainingState
    display: Display
    started: float

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def learning_rate(self) -> float:
        """The learning rate of the next step.

        With a time budget the schedule follows whichever is further on, the steps or the clock:
        a run that is cut off at a high learning rate would lose several points of accuracy.
        """
        progress = self.state.step / (self.batches.steps_per_epoch * self.recipe.epochs)
        if budget := self.recipe.stopping.budget_seconds:
            progress = max(progress, min(1.0, self.seconds() / budget))
        peak = self.recipe.optimizer.learning_rate
        return peak * learning_rate_share(self.recipe.schedule, progress)


def _prepare(recipe: Recipe, dataset: Dataset, display: Display) -> _Prepared:
    display.message(f"{recipe.name}: building the model")
    if dataset.validation is not None:
        training, validation = dataset.train, dataset.validation
        held_out = np.arange(len(validation))
    else:
        indices, held_out = stratified_split(dataset.train.labels, recipe.validation, recipe.seed)
        training, validation = dataset.train.take(indices), dataset.train.take(held_out)
    return _Prepared(
        model=_compiled_model(recipe, training, len(dataset.class_names)),
        batches=Batches(
            training, recipe.batch_size, recipe.augmentation, recipe.seed, recipe.balance
        ),
        validation=validation,
        held_out=held_out,
    )


def _train(
    run: Run, recipe: Recipe, dataset: Dataset, prepared: _Prepared, display: Display
) -> Run:
    model, batches = prepared.model, prepared.batches
    state = TrainingState(**(restore_checkpoint(run.checkpoints_path, model) or {}))
    job = _Job(
        run=run,
        recipe=recipe,
        model=model,
        batches=batches,
        validation=prepared.validation,
        one_hot=np.eye(len(dataset.class_names), dtype=np.float32),
        state=state,
        display=display,
        started=time.monotonic() - state.seconds,
    )
    with Interruption() as interruption, display.training(recipe, batches.steps_per_epoch):
        while not state.stopped:
            _train_epoch(job, interruption)
            if not interruption.requested or state.step % batches.steps_per_epoch == 0:
                _end_epoch(job)
            state.seconds = job.seconds()
            save_checkpoint(run.checkpoints_path, model, state.step, asdict(state))
            if interruption.requested and not state.stopped:
                raise JobError(
                    f"interrupted after {state.step} steps; go on with "
                    f"`thumbnet train --resume {run.path}`"
                )
    if recipe.stopping.patience:
        read_variables(_best_path(run), model)
    display.message(f"{recipe.name}: {state.stopped}; evaluating on the test images")
    write_results(run, recipe, model, dataset, prepared.validation, prepared.held_out, state)
    return run


def _train_epoch(job: _Job, interruption: Interruption) -> None:
    """Take the steps that are left of the epoch, until they or the patience of the user end."""
    state, model = job.state, job.model
    epoch, first_step = divmod(state.step, job.batches.steps_per_epoch)
    for images, labels in job.batches.epoch(epoch, first_step):
        rate = job.learning_rate()
        model.optimizer.learning_rate = rate
        values = model.train_on_batch(
            images,
            job.one_hot[labels],
            sample_weight=job.batches.weights(labels),
            return_dict=True,
        )
        _require_finite(values, job)
        for name, value in values.items():
            state.sums[name] = state.sums.get(name, 0.0) + float(value)
        state.step += 1
        job.display.step(state.step, values, rate, len(images))
        if interruption.requested or _budget_is_spent(job):
            return


def _end_epoch(job: _Job) -> None:
    """Measure the validation images, add a row to the history, and see whether the run is over."""
    state, recipe = job.state, job.recipe
    steps_per_epoch = job.batches.steps_per_epoch
    epoch = math.ceil(state.step / steps_per_epoch)
    steps = state.step - (epoch - 1) * steps_per_epoch
    seconds_before = state.history[-1]["seconds"] if state.history else 0.0
    row: dict[str, float] = {"epoch": epoch, "step": state.step}
    row["learning_rate"] = float(job.model.optimizer.learning_rate)
    row |= {name: total / steps for name, total in state.sums.items()}
    row["images_per_second"] = steps * job.batches.size / (job.seconds() - seconds_before)
    if len(job.validation):
        measured = _evaluate(job.model, job.validation, job.one_hot)
        row |= {f"validation_{name}": value for name, value in measured.items()}
    row["seconds"] = job.seconds()
    state.history.append(row)
    state.sums = {}
    job.run.write_history(state.history)
    job.display.epoch(row)

    accuracy = row.get("validation_accuracy", 0.0)
    if accuracy > state.best_accuracy:
        state.best_accuracy, state.best_epoch = accuracy, epoch
        if recipe.stopping.patience:
            write_variables(_best_path(job.run), job.model, {"epoch": epoch})
    state.stopped = _reason_to_stop(job, epoch, accuracy)


def _evaluate(
    model: "keras.Model", part: LabelledImages, one_hot: npt.NDArray[np.float32]
) -> dict[str, float]:
    """Loss and metrics of the model, means over a part that may not fit into memory."""
    totals: dict[str, float] = {}
    for start in range(0, len(part), PREDICTION_BATCH):
        batch = slice(start, start + PREDICTION_BATCH)
        labels = part.labels[batch]
        values = model.test_on_batch(part.images[batch], one_hot[labels], return_dict=True)
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + float(value) * len(labels)
    return {name: total / len(part) for name, total in totals.items()}


def _reason_to_stop(job: _Job, epoch: int, accuracy: float) -> str:
    """Why the run is over after this epoch, in words; empty if it is not."""
    stopping, state = job.recipe.stopping, job.state
    if stopping.until_accuracy and accuracy >= stopping.until_accuracy:
        return (
            f"reached the desired validation accuracy of {stopping.until_accuracy:.1%} in epoch "
            f"{epoch}, with {accuracy:.1%}"
        )
    if _budget_is_spent(job):
        return f"spent the time budget of {stopping.budget_seconds:g} s in epoch {epoch}"
    if stopping.patience and epoch - state.best_epoch >= stopping.patience:
        return (
            f"stopped early in epoch {epoch}: no better validation accuracy than "
            f"{state.best_accuracy:.1%}, of epoch {state.best_epoch}, in {stopping.patience} epochs"
        )
    if epoch >= job.recipe.epochs:
        return f"finished all {epoch} epochs"
    return ""


def _budget_is_spent(job: _Job) -> bool:
    budget = job.recipe.stopping.budget_seconds
    return bool(budget) and job.seconds() >= budget


def _require_finite(values: Mapping[str, float], job: _Job) -> None:
    if not math.isfinite(values["loss"]):
        raise JobError(
            f"the loss became {values['loss']} in step {job.state.step + 1}; lower "
            f"optimizer.learning_rate (now {job.recipe.optimizer.learning_rate:g}) and train again"
        )


def _best_path(run: Run) -> Path:
    return run.checkpoints_path / "best.npz"


def _compiled_model(recipe: Recipe, training: LabelledImages, class_count: int) -> "keras.Model":
    keras = prepare_keras()
    model = build_model(recipe.model, training.images, class_count, recipe.seed)
    metrics = []
    if "accuracy" in recipe.metrics:
        metrics.append(keras.metrics.CategoricalAccuracy(name="accuracy"))
    if "top_5_accuracy" in recipe.metrics:
        metrics.append(keras.metrics.TopKCategoricalAccuracy(5, name="top_5_accuracy"))
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
