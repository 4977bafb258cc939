"""The Keras callbacks of the training loop.

Their order matters: the user's callbacks come first, then the one that decides whether the run has
ended, then the checkpoint, and last those that pause a run.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from thumbnet.errors import InputError
from thumbnet.runtime import prepare_keras
from thumbnet.training import checkpoints
from thumbnet.training.loop import Training
from thumbnet.training.progress import Display

keras = prepare_keras()
Callback = keras.callbacks.Callback


def callback_list(
    training: Training, display: Display, own: Iterable[Any] = (), pausing: Iterable[Any] = ()
) -> Any:
    """All callbacks of a run, in order, as a `keras.callbacks.CallbackList`.

    With several processes, only the first one shows progress, logs and saves.

    Args:
        training: the run.
        display: shows the progress.
        own: the user's callbacks. One that sets `model.stop_training` ends the run.
        pausing: called after the checkpoint. One that sets `model.stop_training` pauses the run,
            which can be resumed.

    Raises:
        InputError: a callback sets the learning rate, as the recipe's schedule already does.
    """
    schedule = [] if training.prepared.own.optimizer is not None else [Schedule(training)]
    own = list(own)
    for callback in own:
        if schedule and isinstance(callback, _SETS_LEARNING_RATE):
            raise InputError(
                f"{type(callback).__name__} would have no effect, because the recipe's schedule "
                "sets the learning rate of every step; pass optimizer= as well, or use the keys of "
                "[schedule]"
            )
    if training.processes.rank:
        chosen = [*schedule, EarlyStopping(training)]
    else:
        chosen = [
            *schedule,
            *own,
            EarlyStopping(training),
            Progress(training, display),
            Checkpoints(training),
            *pausing,
        ]
    return keras.callbacks.CallbackList(
        chosen,
        model=training.model,
        epochs=training.recipe.epochs,
        steps=training.prepared.batches.steps(0),
        verbose=0,
    )


_SETS_LEARNING_RATE = (
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


class Schedule(Callback):  # type: ignore[misc, valid-type]
    """Sets the learning rate of every step according to the recipe's schedule."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._training = training

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        rate = self._training.learning_rate()
        self.model.optimizer.learning_rate = self._training.processes.replicate(rate)


class EarlyStopping(Callback):  # type: ignore[misc, valid-type]
    """Ends the run by the recipe's rules, and keeps the weights of the best epoch for `patience`.

    It records why the run has ended, even if another callback stopped it.
    """

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._training = training

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        state = self._training.state
        accuracy = logs.get("val_accuracy", 0.0)
        self._training.note_accuracy(epoch + 1, accuracy)
        state.stopped = self._reason(epoch + 1, accuracy)
        if state.stopped:
            self.model.stop_training = True

    def _reason(self, epoch: int, accuracy: float) -> str:
        """Why the run ends after this epoch; empty if it goes on."""
        recipe, state = self._training.recipe, self._training.state
        stopping = recipe.stopping
        if stopping.target_accuracy and accuracy >= stopping.target_accuracy:
            return (
                f"reached the target validation accuracy of {stopping.target_accuracy:.1%} in "
                f"epoch {epoch}, with {accuracy:.1%}"
            )
        if self._training.is_budget_spent():
            return f"reached the time budget of {stopping.budget_seconds:g} s in epoch {epoch}"
        if stopping.patience and epoch - state.best_epoch >= stopping.patience:
            return (
                f"stopped early in epoch {epoch}: validation accuracy has not improved on the "
                f"{state.best_accuracy:.1%} of epoch {state.best_epoch} (patience: "
                f"{stopping.patience} epochs)"
            )
        if epoch >= recipe.epochs:
            return f"finished all {epoch} epochs"
        return f"stopped by a callback in epoch {epoch}" if self.model.stop_training else ""


class Progress(Callback):  # type: ignore[misc, valid-type]
    """Shows the progress on a display."""

    def __init__(self, training: Training, display: Display) -> None:
        super().__init__()
        self._training, self._display = training, display
        self._shown = ExitStack()

    def on_train_begin(self, logs: Any = None) -> None:
        batches = self._training.prepared.batches
        self._shown.enter_context(self._display.training(self._training.recipe, batches))

    def on_train_end(self, logs: Any = None) -> None:
        self._shown.close()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        rate = float(self.model.optimizer.learning_rate)
        images = self._training.prepared.batches.size
        self._display.step(self._training.state.step, logs, rate, images)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._display.epoch(self._training.state.history[-1])


class Checkpoints(Callback):  # type: ignore[misc, valid-type]
    """Saves a checkpoint at the end of every epoch and within long ones."""

    def __init__(self, training: Training) -> None:
        super().__init__()
        self._training = training
        self._saved = training.clock.seconds()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        _, taken = self._training.prepared.batches.position(self._training.state.step)
        seconds = self._training.clock.seconds() - self._saved
        if taken and seconds >= checkpoints.CHECKPOINT_SECONDS:
            self._save()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._save()

    def _save(self) -> None:
        self._training.snapshot.save(self._training.run, self._training.model)
        self._saved = self._training.clock.seconds()
