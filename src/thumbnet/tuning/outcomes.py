"""What became of each trial, as plain values that figures and findings are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from thumbnet.runs.run import Run
from thumbnet.tuning.space import Space
from thumbnet.tuning.study import LAST_SIGN, Tuning
from thumbnet.tuning.workers import SCREENED

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

State = Literal[
    "finished", "given up", "in short", "too dear", "refused", "failed", "lost", "running"
]


@dataclass(frozen=True)
class Outcome:
    """One trial.

    Attributes:
        number: of the trial, counted from 0.
        state: how it ended. "in short" ones were trained on a part of the images, "too dear" and
            "refused" ones (values that do not go together) not at all; "lost" ones were taken up
            by a later trial.
        directory: of its run, below the search's; empty where it was not trained.
        parameters: the values that were chosen for it, by their dotted keys.
        flop: what its whole training takes; None where that is unknown.
        curve: the validation accuracy by the end of each epoch that was trained.
        epochs: that it was to have; 0 where it was not trained.
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
        """The validation accuracy at its end; None where there is none."""
        return self.curve[-1] if self.curve else None


def outcomes_of(tuning: Tuning) -> list[Outcome]:
    """Every trial of a search that was begun, in the order of their numbers."""
    space = tuning.plan().dimensions()
    trials = tuning.study().get_trials(deepcopy=False)
    return [_outcome(tuning, space, trial) for trial in trials if trial.state.name != "WAITING"]


def _outcome(tuning: Tuning, space: Space, trial: "FrozenTrial") -> Outcome:
    state = _state(trial)
    directory, curve, epochs = "", tuple[float, ...](), 0
    if state in ("finished", "given up", "in short", "failed", "running"):
        directory = trial.user_attrs.get("directory", "")
        run = Run(tuning.path / directory)
        if directory and run.recipe_path.is_file():
            epochs = run.recipe().epochs
            curve = tuple(row["validation_accuracy"] for row in run.history())
        else:  # it has not come so far
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
        case "PRUNED" if "too_dear" in trial.user_attrs:
            return "too dear"
        case "PRUNED" if SCREENED in trial.user_attrs:
            return "in short"
        case "PRUNED":
            return "given up" if "flop" in trial.user_attrs else "refused"
        case "FAIL":
            return "lost" if LAST_SIGN in trial.user_attrs else "failed"
        case _:
            return "running"
