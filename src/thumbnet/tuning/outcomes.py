"""The outcome of each trial, as plain values for figures and findings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from thumbnet.runs.run import Run
from thumbnet.tuning.space import Space
from thumbnet.tuning.study import ABANDONED, Tuning
from thumbnet.tuning.workers import OVER_BUDGET, SCREENED

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

State = Literal[
    "finished", "pruned", "screened", "over budget", "invalid", "failed", "abandoned", "running"
]


@dataclass(frozen=True)
class Outcome:
    """One trial.

    Attributes:
        number: number of the trial, from 0.
        state: how it ended. A screened trial was trained on a subset of the images. A trial over
            budget, or with an invalid combination of values, was not trained. The worker of an
            abandoned trial died; a later trial continued it.
        directory: run directory, relative to the search's; empty if it was not trained.
        parameters: sampled values by dotted key.
        flop: FLOP of the full training; None if unknown.
        curve: validation accuracy after each trained epoch.
        epochs: planned number of epochs; 0 if it was not trained.
    """

    number: int
    state: State
    directory: str
    parameters: Mapping[str, Any]
    flop: int | None
    curve: tuple[float, ...]
    epochs: int

    @property
    def accuracy(self) -> float | None:
        """The last validation accuracy; None if it was not trained."""
        return self.curve[-1] if self.curve else None


def outcomes_of(tuning: Tuning) -> list[Outcome]:
    """The outcome of every trial that was started, in order of their numbers."""
    space = tuning.plan().dimensions()
    trials = tuning.study().get_trials(deepcopy=False)
    return [_outcome(tuning, space, trial) for trial in trials if trial.state.name != "WAITING"]


def _outcome(tuning: Tuning, space: Space, trial: "FrozenTrial") -> Outcome:
    state = _state(trial)
    directory, curve, epochs = "", tuple[float, ...](), 0
    if state in ("finished", "pruned", "screened", "failed", "running"):
        directory = trial.user_attrs.get("directory", "")
        run = Run(tuning.path / directory)
        if directory and run.recipe_path.is_file():
            epochs = run.recipe().epochs
            curve = tuple(run.history().series("validation_accuracy")[1])
        else:  # training has not started yet
            directory = ""
    parameters = {key: space[key].value(stored) for key, stored in trial.params.items()}
    if "epochs" in space and epochs:
        parameters["epochs"] = epochs
    flop = trial.user_attrs.get("flop")
    return Outcome(trial.number, state, directory, parameters, flop, curve, epochs)


def _state(trial: "FrozenTrial") -> State:
    match trial.state.name:
        case "COMPLETE":
            return "finished"
        case "PRUNED" if OVER_BUDGET in trial.user_attrs:
            return "over budget"
        case "PRUNED" if SCREENED in trial.user_attrs:
            return "screened"
        case "PRUNED":
            return "pruned" if "flop" in trial.user_attrs else "invalid"
        case "FAIL":
            return "abandoned" if ABANDONED in trial.user_attrs else "failed"
        case _:
            return "running"
