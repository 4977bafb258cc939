"""Results of a search: the best recipe, and which parameters mattered."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import JsonValue

from thumbnet.recipe import Recipe
from thumbnet.record import Amount, Count, Fraction, Record, Text
from thumbnet.runs.run import Run
from thumbnet.tuning.outcomes import Outcome, outcomes_of
from thumbnet.tuning.study import Tuning, seconds_spent

if TYPE_CHECKING:
    import optuna

_FEWEST_FOR_IMPORTANCES = 4


@dataclass(frozen=True)
class Findings:
    """Results of a search so far.

    Attributes:
        outcomes: outcome of every trial that was started.
        seconds: time in which at least one trial was running.
        best: the best finished trial, or the Pareto front with the most accurate first; empty if
            no trial has finished.
        importances: fraction of the accuracy's variance that each parameter explains, in
            decreasing order (fANOVA: Hutter et al. 2014); empty with fewer than four finished
            trials.
        recipe: recipe of the first of `best`.
    """

    outcomes: tuple[Outcome, ...]
    seconds: float
    best: tuple[Outcome, ...]
    importances: dict[str, float]
    recipe: Recipe | None

    def counts(self) -> dict[str, int]:
        """Number of trials in each state."""
        return dict(Counter(outcome.state for outcome in self.outcomes))

    def record(self) -> "FindingsRecord":
        """The content of `findings.json`."""
        return FindingsRecord(
            trials=self.counts(),
            seconds=self.seconds,
            best=[
                BestTrial(
                    trial=outcome.number,
                    directory=outcome.directory,
                    validation_accuracy=outcome.accuracy,
                    train_flops=outcome.flop,
                    parameters=dict(outcome.parameters),
                )
                for outcome in self.best
            ],
            importances=self.importances,
        )


class BestTrial(Record):
    """One of the best trials: its run directory, results and parameters."""

    trial: Count
    directory: Text
    validation_accuracy: Fraction | None
    train_flops: Amount | None
    parameters: dict[Text, JsonValue]


class FindingsRecord(Record):
    """`findings.json`: the results of a search so far, see `Findings`.

    Attributes:
        trials: number of trials by how they ended.
    """

    trials: dict[Text, Count]
    seconds: Amount
    best: list[BestTrial]
    importances: dict[Text, float]


def find(tuning: Tuning) -> Findings:
    """Collect the results of a search so far."""
    study, outcomes = tuning.study(), outcomes_of(tuning)
    finished = any(outcome.state == "finished" for outcome in outcomes)
    numbers = {trial.number for trial in study.best_trials} if finished else set()
    best = sorted(
        (one for one in outcomes if one.number in numbers), key=lambda one: -(one.accuracy or 0)
    )
    # With a single objective, keep the earliest of equally good trials.
    best = best if len(study.directions) > 1 else best[:1]
    return Findings(
        outcomes=tuple(outcomes),
        seconds=seconds_spent(study),
        best=tuple(best),
        importances=_importances(study),
        recipe=_recipe(tuning, best[0], len(outcomes)) if best else None,
    )


def _importances(study: "optuna.Study") -> dict[str, float]:
    import optuna
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    accuracies = {trial.values[0] for trial in trials}
    if len(trials) < _FEWEST_FOR_IMPORTANCES or len(accuracies) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(
        study, evaluator=evaluator, target=lambda trial: trial.values[0]
    )
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}


def _recipe(tuning: Tuning, best: Outcome, tried: int) -> Recipe:
    recipe = Run(tuning.path / best.directory).recipe()
    description = (
        f"Trial {best.number} of {tried} in the search {tuning.plan().name}, which started from "
        f"the recipe {recipe.name}: validation accuracy {best.accuracy:.2%}."
    )
    return recipe.override({"name": f"{recipe.name}-tuned", "description": description})
