"""The training loop: epochs, steps, and the callbacks that watch them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thumbnet.engines import prediction_batch
from thumbnet.errors import JobError, JobInterruptedError
from thumbnet.parallel.processes import Processes
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.training import hard_examples as image_losses
from thumbnet.training.checkpoints import weights_of
from thumbnet.training.interruption import Interruption
from thumbnet.training.optimizers import lr_multiplier
from thumbnet.training.prepare import Prepared
from thumbnet.training.progress import Display
from thumbnet.training.start import fit_head, load_start_weights
from thumbnet.training.state import Clock, Snapshot, TrainingState

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class Training:
    """One run during training."""

    run: Run
    recipe: Recipe
    prepared: Prepared
    snapshot: Snapshot
    clock: Clock
    processes: Processes

    @property
    def model(self) -> "keras.Model":
        return self.prepared.model

    @property
    def state(self) -> TrainingState:
        return self.snapshot.state

    def learning_rate(self) -> float:
        """The learning rate of the next step.

        With a time budget the schedule follows steps or time, whichever is further along: a run
        that is cut off at a high learning rate would lose several points of accuracy.
        """
        steps = self.prepared.batches.total_steps
        progress = self.state.step / steps
        if budget := self.recipe.stopping.budget_seconds:
            progress = max(progress, min(1.0, self.state.seconds / budget))
        peak = self.recipe.optimizer.learning_rate
        return peak * lr_multiplier(self.recipe.schedule, progress, 1 / steps)

    def note_accuracy(self, epoch: int, accuracy: float) -> None:
        """Record the validation accuracy of an epoch, and with `patience` the best weights."""
        if accuracy > self.state.best_accuracy:
            self.state.best_accuracy, self.state.best_epoch = accuracy, epoch
            if self.recipe.stopping.patience:
                self.snapshot.best_weights.update(weights_of(self.model))

    def is_budget_spent(self) -> bool:
        """Whether the recipe's training time is used up."""
        budget = self.recipe.stopping.budget_seconds
        return bool(budget) and self.state.seconds >= budget


def run_epochs(
    training: Training, callbacks: "keras.callbacks.CallbackList", display: Display
) -> None:
    """Train until a callback stops it.

    Args:
        training: the run.
        callbacks: Keras's and Thumbnet's; one of them has to end the training. They are called as
            by `keras.Model.fit`: epochs from 0, steps within an epoch, and metrics by Keras's
            names, such as `val_accuracy`.
        display: shows messages before the first epoch.

    Raises:
        JobError: it was interrupted, the loss or a weight is not finite, or a file cannot be
            written. Existing checkpoints are kept.
    """
    model, state = training.model, training.state
    model.stop_training = bool(state.stopped)
    logs: dict[str, float] = {}
    with Interruption() as interruption:
        callbacks.on_train_begin()
        try:
            if training.recipe.start.weights and not state.step and not state.history:
                _load_start_weights(training, callbacks, display)
            while not model.stop_training:
                interrupted = _train_epoch(training, callbacks, interruption)
                _, taken = training.prepared.batches.position(state.step)
                if interrupted and taken:
                    _save(training)
                    raise JobInterruptedError(f"interrupted after {state.step} steps")
                logs = _end_epoch(training, callbacks)
                if _synchronise(training, interruption) and not model.stop_training:
                    raise JobInterruptedError(f"interrupted after {state.step} steps")
        finally:
            # Also after an error, so that progress bars and files are closed.
            callbacks.on_train_end(logs)


def _save(training: Training) -> None:
    if training.processes.rank == 0:
        training.snapshot.save(training.run, training.model)


def _synchronise(training: Training, interruption: Interruption) -> bool:
    """Share the clock and the stop decision of the first process with all processes.

    Returns:
        Whether any process was interrupted.
    """
    own = [training.clock.seconds(), training.model.stop_training, interruption.requested]
    gathered = training.processes.gather(own)
    training.state.seconds = float(gathered[0, 0])
    training.model.stop_training = bool(gathered[0, 1])
    return bool(gathered[:, 2].any())


def _train_epoch(
    training: Training, callbacks: "keras.callbacks.CallbackList", interruption: Interruption
) -> bool:
    """Take the remaining steps of the epoch, until it ends or is interrupted or stopped.

    Returns:
        Whether it was interrupted.
    """
    state, model, batches = training.state, training.model, training.prepared.batches
    losses = training.snapshot.losses
    epoch, first_step = batches.position(state.step)
    order = batches.order(epoch, losses.get("ranked"))
    one_hot = np.eye(batches.class_count, dtype=np.float32)
    callbacks.on_epoch_begin(epoch)
    for step, (images, labels) in enumerate(batches.epoch(epoch, first_step, order), first_step):
        callbacks.on_train_batch_begin(step)
        values = model.train_on_batch(
            images,
            one_hot[labels] if labels.ndim == 1 else labels,
            sample_weight=batches.weights(labels),
            return_dict=True,
        )
        _require_finite(values, training)
        if losses:
            seen = order[step * batches.size : (step + 1) * batches.size]
            losses["latest"][seen] = values.pop(image_losses.NAME)[: len(seen)]
        for name, value in values.items():
            state.sums[name] = state.sums.get(name, 0.0) + float(value)
        state.step += 1
        callbacks.on_train_batch_end(step, _means(state.sums, step + 1))
        interrupted = _synchronise(training, interruption)
        if interrupted or model.stop_training or training.is_budget_spent():
            return interrupted
    return False


def _end_epoch(training: Training, callbacks: "keras.callbacks.CallbackList") -> dict[str, float]:
    """Evaluate on the validation images, add a row to the history, and call the callbacks.

    Returns:
        The metrics of the epoch by Keras's names.
    """
    state, batches = training.state, training.prepared.batches
    epoch, last_step = batches.position(state.step - 1)
    steps = last_step + 1
    metrics = _means(state.sums, steps)
    seconds_before = state.history[-1]["seconds"] if state.history else 0.0
    row: dict[str, int | float] = {"epoch": epoch + 1, "step": state.step}
    row["learning_rate"] = float(training.model.optimizer.learning_rate)
    row |= metrics
    row["images_per_second"] = steps * batches.size / (training.clock.seconds() - seconds_before)
    state.sums = {}
    if losses := training.snapshot.losses:
        losses["ranked"] = training.processes.first(losses["latest"]).copy()
    validation = _add_row(training, callbacks, row)
    logs = metrics | {f"val_{name}": value for name, value in validation.items()}
    logs["learning_rate"] = row["learning_rate"]
    callbacks.on_epoch_end(epoch, logs)
    return logs


def _add_row(
    training: Training,
    callbacks: "keras.callbacks.CallbackList",
    row: dict[str, int | float],
) -> dict[str, float]:
    """Add a row with the validation metrics to the history; returns these metrics."""
    state = training.state
    validation = _validate(training, callbacks)
    row |= {f"validation_{name}": value for name, value in validation.items()}
    state.seconds = row["seconds"] = float(training.processes.first(training.clock.seconds()))
    state.history.append(row)
    training.run.write_history(state.history)
    return validation


def _load_start_weights(
    training: Training, callbacks: "keras.callbacks.CallbackList", display: Display
) -> None:
    """Start from the weights that the recipe names, with a head fitted to their features.

    The result counts as epoch 0. With `stopping.patience`, its weights are restored if fine-tuning
    does not improve on them. Callbacks do not see this epoch.
    """
    recipe, model, batches = training.recipe, training.model, training.prepared.batches
    display.message(f"{recipe.name}: starting from {recipe.start.weights}")
    load_start_weights(recipe, model)
    if not recipe.start.fit_head:
        return
    display.message(f"{recipe.name}: fitting the head to the features of the images")
    loss = fit_head(model, batches.data, recipe.augmentation.flip != "none")
    row: dict[str, int | float] = {"epoch": 0, "step": 0, "learning_rate": 0.0, "loss": loss}
    row["images_per_second"] = len(batches.data) / training.clock.seconds()
    validation = _add_row(training, callbacks, row)
    training.note_accuracy(0, validation.get("accuracy", 0.0))
    _save(training)
    display.epoch(row)


def _means(sums: Mapping[str, float], steps: int) -> dict[str, float]:
    return {name: total / steps for name, total in sums.items()}


def _validate(training: Training, callbacks: "keras.callbacks.CallbackList") -> dict[str, float]:
    """The mean of each metric over the validation images; empty if there are none."""
    images, labels = training.prepared.validation.images, training.prepared.validation.labels
    if not len(labels):
        return {}
    totals: dict[str, float] = {}
    one_hot = np.eye(training.prepared.batches.class_count, dtype=np.float32)
    size = training.processes.round_up(prediction_batch(images.shape[1:]))
    callbacks.on_test_begin()
    for number, start in enumerate(range(0, len(labels), size)):
        stop = min(start + size, len(labels))
        own = training.processes.shard(start, stop)
        callbacks.on_test_batch_begin(number)
        values = training.model.test_on_batch(images[own], one_hot[labels[own]], return_dict=True)
        values.pop(image_losses.NAME, None)
        for name, value in values.items():
            totals[name] = totals.get(name, 0.0) + float(value) * (stop - start)
        callbacks.on_test_batch_end(number, _means(totals, stop))
    means = _means(totals, len(labels))
    callbacks.on_test_end(means)
    return means


def _require_finite(values: Mapping[str, float], training: Training) -> None:
    if math.isfinite(values["loss"]):
        return
    rate = f"optimizer.learning_rate (now {training.recipe.optimizer.learning_rate:g}) with --set"
    if training.prepared.own.optimizer is not None:
        rate = "the learning rate of your optimizer"
    raise JobError(
        f"the loss became {values['loss']} in step {training.state.step + 1}; lower {rate}"
    )
