"""The training loop: epochs and steps, checkpoints on the way, and what ends it."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from thumbnet.data.dataset import LabelledImages
from thumbnet.engines import prediction_batch
from thumbnet.errors import InputError, JobError, JobInterruptedError
from thumbnet.parallel.processes import SINGLE_PROCESS, Processes
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.training import hard_examples as image_losses
from thumbnet.training.batches import Batches
from thumbnet.training.checkpoints import Weights, restore_checkpoint, save_checkpoint, weights_of
from thumbnet.training.interruption import Interruption
from thumbnet.training.optimizers import lr_multiplier
from thumbnet.training.progress import Display
from thumbnet.training.start import fit_head, load_start_weights

if TYPE_CHECKING:
    import keras

# A checkpoint is due at the end of every epoch, and within a long one as often as this: what a
# killed run loses. Writing one takes some hundredths of a second.
CHECKPOINT_SECONDS = 60.0


@dataclass
class TrainingState:
    """What a checkpoint holds beside the weights and the optimizer's variables.

    Attributes:
        step: steps taken.
        seconds: training time so far, over all sittings, by the clock of the first process.
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


@dataclass(frozen=True, eq=False)
class Job:
    """What stays the same while a run is trained; `state` and `best_weights` are what changes.

    `best_weights` are those of the best epoch, where early stopping will want them back. `losses`
    are of the training images, where the recipe revisits the hardest: "latest", and "ranked" as
    they were when the epoch began; empty where it does not.
    """

    run: Run
    recipe: Recipe
    model: "keras.Model"
    batches: Batches
    validation: LabelledImages
    one_hot: npt.NDArray[np.float32]
    state: TrainingState
    best_weights: Weights
    losses: Weights
    display: Display
    seconds_before: float
    processes: Processes = SINGLE_PROCESS
    started: float = field(default_factory=time.monotonic)

    def seconds(self) -> float:
        """Training time so far, over all sittings."""
        return self.seconds_before + time.monotonic() - self.started

    def learning_rate(self) -> float:
        """The learning rate of the next step.

        With a time budget the schedule follows whichever is further on, the steps or the clock:
        a run that is cut off at a high learning rate would lose several points of accuracy.
        """
        progress = self.state.step / self.batches.total_steps
        if budget := self.recipe.stopping.budget_seconds:
            progress = max(progress, min(1.0, self.state.seconds / budget))
        peak = self.recipe.optimizer.learning_rate
        step = 1 / self.batches.total_steps
        return peak * lr_multiplier(self.recipe.schedule, progress, step)


def restore_state(run: Run, model: "keras.Model") -> tuple[TrainingState, Weights, Weights]:
    """Set the model to the run's last sound checkpoint.

    Returns:
        The training state, the weights of the best epoch, and the losses of the images; those of
        a run that has not begun where there is no checkpoint.

    Raises:
        InputError: there are checkpoints, and none is sound.
    """
    restored = restore_checkpoint(run.checkpoints_path, model)
    if restored is None:
        return TrainingState(), {}, {}
    values, best_weights, losses = restored
    try:
        return TypeAdapter(TrainingState).validate_python(values), best_weights, losses
    except ValidationError as error:
        raise InputError(f"{run.checkpoints_path} holds no training state: {error}") from error


def run_epochs(job: Job) -> None:
    """Train until something ends it.

    Raises:
        JobError: it was interrupted, the loss or a weight is no number, or a file cannot be
            written. The checkpoints that are there are kept.
    """
    state, batches = job.state, job.batches
    with Interruption() as interruption, job.display.training(job.recipe, batches):
        if job.recipe.start.weights and not state.step and not state.history:
            _load_start_weights(job)
        while not state.stopped:
            interrupted = _train_epoch(job, interruption)
            _, taken = batches.position(state.step)
            epoch_ended = not interrupted or taken == 0
            if epoch_ended:
                _end_epoch(job)
            _save(job)
            if epoch_ended:
                # After the checkpoint: a search may end the training here.
                job.display.epoch(state.history[-1])
            if _is_interrupted(job, interruption) and not state.stopped:
                raise JobInterruptedError(f"interrupted after {state.step} steps")


def _load_start_weights(job: Job) -> None:
    """Begin with the weights that the recipe names, and with a head fitted to them.

    What the model can do then counts as epoch 0, to which fine-tuning goes back with
    `stopping.patience`, should it do no better.
    """
    recipe, model = job.recipe, job.model
    job.display.message(f"{recipe.name}: starting from {recipe.start.weights}")
    load_start_weights(recipe, model)
    if not recipe.start.fit_head:
        return
    job.display.message(f"{recipe.name}: fitting the head to the features of the images")
    mirrored = recipe.augmentation.flip != "none"
    loss = fit_head(model, job.batches.data, mirrored)
    row: dict[str, int | float] = {"epoch": 0, "step": 0, "learning_rate": 0.0, "loss": loss}
    row["images_per_second"] = len(job.batches.data) / job.seconds()
    _finish_row(job, row)
    _save(job)
    job.display.epoch(row)


def _save(job: Job) -> None:
    state = job.state
    if job.processes.rank == 0:
        save_checkpoint(
            job.run.checkpoints_path,
            job.model,
            state.step,
            asdict(state),
            job.best_weights,
            job.losses,
        )


def _is_interrupted(job: Job, interruption: Interruption) -> bool:
    """Whether any process was asked to end; what the clock says is noted as well, for all alike."""
    gathered = job.processes.gather([job.seconds(), interruption.requested])
    job.state.seconds = float(gathered[0, 0])
    return bool(gathered[:, 1].any())


def _train_epoch(job: Job, interruption: Interruption) -> bool:
    """Take the steps that are left of the epoch, until they or the patience of the user end.

    Returns:
        Whether it was interrupted.
    """
    state, model, batches = job.state, job.model, job.batches
    epoch, first_step = batches.position(state.step)
    order = batches.order(epoch, job.losses.get("ranked"))
    saved = state.seconds
    for images, labels in batches.epoch(epoch, first_step, order):
        rate = job.learning_rate()
        model.optimizer.learning_rate = job.processes.replicate(rate)
        values = model.train_on_batch(
            images,
            job.one_hot[labels] if labels.ndim == 1 else labels,
            sample_weight=batches.weights(labels),
            return_dict=True,
        )
        _require_finite(values, job)
        if losses := job.losses:
            _, within = batches.position(state.step)
            seen = order[within * batches.size : (within + 1) * batches.size]
            losses["latest"][seen] = values.pop(image_losses.NAME)[: len(seen)]
        for name, value in values.items():
            state.sums[name] = state.sums.get(name, 0.0) + float(value)
        state.step += 1
        job.display.step(state.step, values, rate, len(images) * job.processes.count)
        if (interrupted := _is_interrupted(job, interruption)) or _budget_is_spent(job):
            return interrupted
        _, taken = batches.position(state.step)
        if taken and state.seconds - saved >= CHECKPOINT_SECONDS:
            _save(job)
            saved = state.seconds
    return False


def _end_epoch(job: Job) -> None:
    """Measure the validation images, add a row to the history, and see whether the run is over."""
    state = job.state
    last, within = job.batches.position(state.step - 1)
    epoch, steps = last + 1, within + 1
    seconds_before = state.history[-1]["seconds"] if state.history else 0.0
    row: dict[str, int | float] = {"epoch": epoch, "step": state.step}
    row["learning_rate"] = float(job.model.optimizer.learning_rate)
    row |= {name: total / steps for name, total in state.sums.items()}
    row["images_per_second"] = steps * job.batches.size / (job.seconds() - seconds_before)
    if job.losses:
        job.losses["ranked"] = job.processes.first(job.losses["latest"]).copy()
    accuracy = _finish_row(job, row)
    state.stopped = _reason_to_stop(job, epoch, accuracy)


def _finish_row(job: Job, row: dict[str, int | float]) -> float:
    """Add the validation metrics and the time to a row of the history, and keep it.

    Returns:
        The validation accuracy; 0 where it is not measured.
    """
    state, recipe, epoch = job.state, job.recipe, int(row["epoch"])
    row |= {f"validation_{name}": value for name, value in _validate(job).items()}
    state.seconds = row["seconds"] = float(job.processes.first(job.seconds()))
    state.history.append(row)
    state.sums = {}
    job.run.write_history(state.history)

    accuracy = row.get("validation_accuracy", 0.0)
    if accuracy > state.best_accuracy:
        state.best_accuracy, state.best_epoch = accuracy, epoch
        if recipe.stopping.patience:
            job.best_weights.update(weights_of(job.model))
    return accuracy


def _validate(job: Job) -> dict[str, float]:
    """The mean of each metric over the validation images; empty where there are none."""
    totals: dict[str, float] = {}
    images, labels = job.validation.images, job.validation.labels
    size = job.processes.round_up(prediction_batch(images.shape[1:]))
    for start in range(0, len(job.validation), size):
        stop = min(start + size, len(job.validation))
        own = job.processes.shard(start, stop)
        values = job.model.test_on_batch(images[own], job.one_hot[labels[own]], return_dict=True)
        values.pop(image_losses.NAME, None)
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + float(value) * (stop - start)
    return {name: total / len(job.validation) for name, total in totals.items()}


def _reason_to_stop(job: Job, epoch: int, accuracy: float) -> str:
    """Why the run is over after this epoch, in words; empty if it is not."""
    stopping, state = job.recipe.stopping, job.state
    if stopping.target_accuracy and accuracy >= stopping.target_accuracy:
        return (
            f"reached the desired validation accuracy of {stopping.target_accuracy:.1%} in epoch "
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


def _budget_is_spent(job: Job) -> bool:
    budget = job.recipe.stopping.budget_seconds
    return bool(budget) and job.state.seconds >= budget


def _require_finite(values: Mapping[str, float], job: Job) -> None:
    if not math.isfinite(values["loss"]):
        raise JobError(
            f"the loss became {values['loss']} in step {job.state.step + 1}; lower "
            f"optimizer.learning_rate (now {job.recipe.optimizer.learning_rate:g}) with --set"
        )


def image_losses_to_begin_with(recipe: Recipe, images: int, restored: Weights) -> Weights:
    """What `Job.losses` begins with: what a checkpoint held, or every image among the hardest.

    Raises:
        InputError: the checkpoint held losses of other images.
    """
    if recipe.hard_example_fraction == 1:
        return {}
    unseen = np.full(images, np.inf, np.float32)
    losses = {"latest": unseen, "ranked": unseen.copy()} | restored
    if any(array.shape != (images,) or array.dtype != np.float32 for array in losses.values()):
        raise InputError("the checkpoint holds losses of other images; begin anew with --overwrite")
    return losses
