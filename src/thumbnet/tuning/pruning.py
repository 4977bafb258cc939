"""The Keras callback that reports the progress of a trial and prunes it."""

from collections.abc import Callable
from typing import Any

from thumbnet.runtime import prepare_keras
from thumbnet.tuning.study import QUARTERS

keras = prepare_keras()


class Pruning(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
    """Reports each epoch of a trial, and pauses its run when it should be pruned.

    Called after the checkpoint of the epoch, so that the run can be resumed from there.
    """

    def __init__(
        self,
        epochs: int,
        end_epoch: Callable[[], None],
        report: Callable[[float, int], None],
        should_stop: Callable[[], bool],
    ) -> None:
        """Watch a trial.

        Args:
            epochs: number of epochs of the trial.
            end_epoch: called after each epoch.
            report: called with the validation accuracy and the number of each completed quarter of
                the epochs: trials differ in their number of epochs, and are compared at quarters.
            should_stop: called after each epoch except the last; whether to stop.
        """
        super().__init__()
        self._epochs, self._end_epoch = epochs, end_epoch
        self._report, self._should_stop = report, should_stop

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self._end_epoch()
        if epoch + 1 == self._epochs:
            return
        before, quarter = (QUARTERS * count // self._epochs for count in (epoch, epoch + 1))
        if quarter > before:
            self._report(logs["val_accuracy"], quarter)
        if self._should_stop():
            self.model.stop_training = True
