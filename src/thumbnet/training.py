"""From a recipe and a dataset to a run: the loop, what ends it, and what it leaves behind."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from thumbnet.atomic import remove_leftovers
from thumbnet.batches import Batches
from thumbnet.checkpoints import (
    Weights,
    restore_checkpoint,
    save_checkpoint,
    set_weights,
    weights_of,
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
from thumbnet.runtime import (
    describe_environment,
    is_out_of_memory,
    make_deterministic,
    prepare_keras,
)

if TYPE_CHECKING:
    import keras

# A checkpoint is due at the end of every epoch, and within a long one as often as this: what a
# killed run loses. Writing one takes some hundredths of a second.
CHECKPOINT_SECONDS = 60.0
# What may be set anew when a run is resumed: it changes the steps to come, not what they mean.
RESUMABLE_SETTINGS = (
    "optimizer.learning_rate",
    "stopping.patience",
    "stopping.budget_seconds",
    "stopping.until_accuracy",
)


@dataclass
class TrainingState:
    """What a checkpoint holds beside the weights and the optimizer's variables.

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
    history: list[dict[str, int | float]] = field(default_factory=list)
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
        JobError: the loss is no longer finite, the disk is full, the memory is not enough,
            another process trains this run, or Ctrl-C was pressed. The run can be resumed.
    """
    recipe = recipe if isinstance(recipe, Recipe) else Recipe.read(recipe)
    display = display or choose_display()
    # What cannot be trained leaves no directory behind.
    Run.require_free(out)
    prepared = _prepare(recipe, dataset, display)
    run = Run(Path(out))
    with run.alone():
        run.begin(
            recipe,
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
            },
        )
        return _train(run, recipe, dataset, prepared, display)


def resume(
    run: Run | str | Path,
    dataset: Dataset,
    display: Display | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Run:
    """Go on with a run that was stopped, from its last checkpoint, as if it had not been.

    Args:
        run: the run; one that is finished is returned as it is.
        dataset: the same images as before.
        display: as in `train`.
        settings: values of the recipe to replace from here on, by their dotted keys; only
            `RESUMABLE_SETTINGS`. They are saved with the run.

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
        return run
    with run.alone():
        recipe, display = run.recipe(), display or choose_display()
        if settings:
            recipe = recipe.override(settings)
            run.change_recipe(recipe, settings)
        remove_leftovers(run.path)
        remove_leftovers(run.checkpoints_path)
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
    """What stays the same while a run is trained; `state` and `best_weights` are what changes.

    `best_weights` are those of the best epoch, where early stopping will want them back.
    """

    run: Run
    recipe: Recipe
    model: "keras.Model"
    batches: Batches
    validation: LabelledImages
    one_hot: npt.NDArray[np.float32]
    state: TrainingState
    best_weights: Weights
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
    if recipe.deterministic:
        make_deterministic()
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
    state, best_weights = _restore(run, model)
    job = _Job(
        run=run,
        recipe=recipe,
        model=model,
        batches=batches,
        validation=prepared.validation,
        one_hot=np.eye(len(dataset.class_names), dtype=np.float32),
        state=state,
        best_weights=best_weights,
        display=display,
        started=time.monotonic() - state.seconds,
    )
    with _kept_for_later(run):
        with Interruption() as interruption, display.training(recipe, batches.steps_per_epoch):
            while not state.stopped:
                _train_epoch(job, interruption)
                if not interruption.requested or state.step % batches.steps_per_epoch == 0:
                    _end_epoch(job)
                _save(job)
                if interruption.requested and not state.stopped:
                    raise JobError(f"interrupted after {state.step} steps")
        if best_weights:
            set_weights(model, best_weights)
        display.message(f"{recipe.name}: {state.stopped}; evaluating on the test images")
        write_results(run, recipe, model, dataset, prepared.validation, prepared.held_out, state)
    return run


@contextmanager
def _kept_for_later(run: Run) -> Iterator[None]:
    """Have every failure say how to go on."""
    way_on = f"go on with `thumbnet train --resume {run.path}`"
    try:
        yield
    except JobError as error:
        raise JobError(f"{error}; {way_on}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise JobError(
            f"the memory is not enough: close other programs and {way_on}, or begin anew with a "
            "smaller batch_size"
        ) from error


def _restore(run: Run, model: "keras.Model") -> tuple[TrainingState, Weights]:
    restored = restore_checkpoint(run.checkpoints_path, model)
    if restored is None:
        return TrainingState(), {}
    values, best_weights = restored
    try:
        return TypeAdapter(TrainingState).validate_python(values), best_weights
    except ValidationError as error:
        raise InputError(f"{run.checkpoints_path} holds no training state: {error}") from error


def _save(job: _Job) -> None:
    state = job.state
    state.seconds = job.seconds()
    save_checkpoint(
        job.run.checkpoints_path, job.model, state.step, asdict(state), job.best_weights
    )


def _train_epoch(job: _Job, interruption: Interruption) -> None:
    """Take the steps that are left of the epoch, until they or the patience of the user end."""
    state, model = job.state, job.model
    epoch, first_step = divmod(state.step, job.batches.steps_per_epoch)
    saved = time.monotonic()
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
        within_epoch = state.step % job.batches.steps_per_epoch > 0
        if within_epoch and time.monotonic() - saved >= CHECKPOINT_SECONDS:
            _save(job)
            saved = time.monotonic()


def _end_epoch(job: _Job) -> None:
    """Measure the validation images, add a row to the history, and see whether the run is over."""
    state, recipe = job.state, job.recipe
    steps_per_epoch = job.batches.steps_per_epoch
    epoch = math.ceil(state.step / steps_per_epoch)
    steps = state.step - (epoch - 1) * steps_per_epoch
    seconds_before = state.history[-1]["seconds"] if state.history else 0.0
    row: dict[str, int | float] = {"epoch": epoch, "step": state.step}
    row["learning_rate"] = float(job.model.optimizer.learning_rate)
    row |= {name: total / steps for name, total in state.sums.items()}
    row["images_per_second"] = steps * job.batches.size / (job.seconds() - seconds_before)
    row |= {f"validation_{name}": value for name, value in _validate(job).items()}
    row["seconds"] = job.seconds()
    state.history.append(row)
    state.sums = {}
    job.run.write_history(state.history)
    job.display.epoch(row)

    accuracy = row.get("validation_accuracy", 0.0)
    if accuracy > state.best_accuracy:
        state.best_accuracy, state.best_epoch = accuracy, epoch
        if recipe.stopping.patience:
            job.best_weights.update(weights_of(job.model))
    state.stopped = _reason_to_stop(job, epoch, accuracy)


def _validate(job: _Job) -> dict[str, float]:
    """The mean of each metric over the validation images; empty where there are none."""
    totals: dict[str, float] = {}
    for start in range(0, len(job.validation), PREDICTION_BATCH):
        images = job.validation.images[start : start + PREDICTION_BATCH]
        labels = job.one_hot[job.validation.labels[start : start + PREDICTION_BATCH]]
        for name, value in job.model.test_on_batch(images, labels, return_dict=True).items():
            totals[name] = totals.get(name, 0.0) + float(value) * len(images)
    return {name: total / len(job.validation) for name, total in totals.items()}


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
            f"optimizer.learning_rate (now {job.recipe.optimizer.learning_rate:g}) with --set"
        )


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
