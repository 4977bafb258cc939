"""The state of a run between two steps, and how it is saved and restored."""

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter, ValidationError

from thumbnet.errors import InputError
from thumbnet.recipe import Recipe
from thumbnet.record import describe_problem
from thumbnet.runs.run import Run
from thumbnet.training.checkpoints import Weights, restore_checkpoint, save_checkpoint

if TYPE_CHECKING:
    import keras


@dataclass
class TrainingState:
    """The plain values of a checkpoint.

    Attributes:
        step: steps taken.
        seconds: training time so far, over all sessions, by the clock of the first process.
        sums: the sum of each metric over the steps of the current epoch.
        history: one row for each finished epoch.
        best_accuracy: the highest validation accuracy so far.
        best_epoch: the epoch that reached it, counted from 1.
        stopped: why the run has ended; empty until then.
    """

    step: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, int | float]] = field(default_factory=list)
    best_accuracy: float = 0.0
    best_epoch: int = 0
    stopped: str = ""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The content of a checkpoint besides the model and its optimizer.

    Attributes:
        state: plain values.
        best_weights: the model's weights after the best epoch, for early stopping; else empty.
        losses: of each training image, for hard example mining: "latest", and "ranked", the values
            at the start of the epoch; else empty.
    """

    state: TrainingState
    best_weights: Weights
    losses: Weights

    def save(self, run: Run, model: "keras.Model") -> None:
        """Write a checkpoint.

        Raises:
            JobError: a weight is no longer finite, or the file cannot be written.
        """
        save_checkpoint(
            run.checkpoints_path,
            model,
            self.state.step,
            asdict(self.state),
            self.best_weights,
            self.losses,
        )


def restore_snapshot(run: Run, recipe: Recipe, model: "keras.Model", images: int) -> Snapshot:
    """Set the model to the run's last intact checkpoint.

    Args:
        run: the run.
        recipe: its recipe.
        model: the compiled model.
        images: number of training images.

    Returns:
        The content of the checkpoint; the initial state if there is no checkpoint.

    Raises:
        InputError: there are checkpoints, but none is intact and fits; or all of them are gone.
    """
    state, best_weights, losses = TrainingState(), Weights(), Weights()
    remedy = (
        "restore an intact one from a backup, or train again from the start in a new directory "
        f"with the recipe {run.recipe_path}"
    )
    try:
        restored = restore_checkpoint(run.checkpoints_path, model)
    except InputError as error:
        raise InputError(f"no checkpoint can be used: {error}; {remedy}") from error
    if restored is not None:
        values, best_weights, losses = restored
        try:
            state = TypeAdapter(TrainingState).validate_python(values)
        except ValidationError as error:
            raise InputError(
                f"{run.checkpoints_path} has no valid training state: {describe_problem(error)}; "
                f"{remedy}"
            ) from error
    # The history of the first epoch is written just before the first checkpoint.
    elif (epochs := len(run.history())) > 1:
        raise InputError(
            f"{run.checkpoints_path} contains no checkpoint, although {epochs} epochs were "
            f"trained; {remedy}"
        )
    return Snapshot(state, best_weights, _losses(recipe, images, losses))


def _losses(recipe: Recipe, images: int, restored: Weights) -> Weights:
    """The restored losses; before the first epoch every image is among the hardest."""
    if recipe.hard_example_fraction == 1:
        return {}
    unseen = np.full(images, np.inf, np.float32)
    losses = {"latest": unseen, "ranked": unseen.copy()} | restored
    if any(array.shape != (images,) or array.dtype != np.float32 for array in losses.values()):
        raise InputError(
            "the checkpoint has losses of different images; start over with --overwrite"
        )
    return losses


class Clock:
    """Training time of a run, over all sessions."""

    def __init__(self, seconds_before: float) -> None:
        self._before, self._started = seconds_before, time.monotonic()

    def seconds(self) -> float:
        """Training time so far."""
        return self._before + time.monotonic() - self._started
