"""What a search showed: the best recipe, which parameters mattered, and how it went on."""

import json
import math
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from thumbnet.atomic import write_json, write_text
from thumbnet.figures.style import INK, MUTED, SERIES, label, save_figure, style
from thumbnet.recipe import Recipe
from thumbnet.tuning.space import parse_space
from thumbnet.tuning.study import Tuning, seconds_spent

if TYPE_CHECKING:
    import optuna

_COUNTED = ("COMPLETE", "PRUNED", "FAIL", "RUNNING")


def write_findings(tuning: Tuning) -> dict[str, Any]:
    """Write `findings.json`, `best.toml` and figures into the directory of a search.

    Returns:
        What `findings.json` says: how many trials ended in which way, the seconds in which
        something was tried, the best trial (or the Pareto front), and the importance of each
        parameter (fANOVA: Hutter et al. 2014), empty with fewer than four finished trials.
    """
    study = tuning.study()
    done = sorted(study.best_trials, key=lambda trial: -trial.values[0]) if _finished(study) else []
    shares = importances(study)
    findings: dict[str, Any] = {
        "trials": {state: _count(study, state) for state in _COUNTED},
        "too_dear": sum("too_dear" in trial.user_attrs for trial in study.trials),
        "seconds": seconds_spent(study),
        "best": [_summary(trial) for trial in done],
        "importances": shares,
    }
    if done:
        write_text(tuning.path / "best.toml", _recipe_of(tuning, study, done[0]).to_toml())
        figures = tuning.path / "figures"
        figures.mkdir(exist_ok=True)
        save_figure(search_chart(study), figures / "search.png")
        if shares:
            save_figure(importance_chart(shares), figures / "importances.png")
    write_json(tuning.path / "findings.json", findings)
    return findings


def importances(study: "optuna.Study") -> dict[str, float]:
    """The share of the accuracy's variance that each parameter explains, the largest first."""
    import optuna

    trials = _finished(study)
    if len(trials) < 4 or len({trial.values[0] for trial in trials}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(
        study, evaluator=evaluator, target=lambda trial: trial.values[0]
    )
    return {key: float(share) for key, share in found.items() if math.isfinite(share)}


@style()
def search_chart(study: "optuna.Study") -> Figure:
    """The validation accuracy of each trial, the best so far, and those that were given up."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    finished = _finished(study)
    reports = [(trial.number, _last_report(trial)) for trial in study.trials]
    given_up = [(number, report) for number, report in reports if report is not None]
    axes.scatter(
        [number for number, _ in given_up],
        [report for _, report in given_up],
        s=16, marker="x", color=MUTED, alpha=0.7, label="given up",
    )  # fmt: skip
    numbers = [trial.number for trial in finished]
    accuracies = [trial.values[0] for trial in finished]
    axes.scatter(numbers, accuracies, s=18, color=SERIES[0], label="finished")
    best = [max(accuracies[: position + 1]) for position in range(len(accuracies))]
    axes.step(numbers, best, where="post", color=SERIES[1], label="best so far")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="trial", ylabel="validation accuracy")
    axes.legend(loc="lower right")
    return figure


@style()
def importance_chart(shares: dict[str, float]) -> Figure:
    """How much of the accuracy's variance each parameter explains."""
    figure = Figure(figsize=(6, 0.6 + 0.26 * len(shares)), layout="constrained")
    axes = figure.add_subplot()
    names = list(reversed(shares))
    axes.barh([label(name) for name in names], [shares[name] for name in names], color=SERIES[0])
    for position, name in enumerate(names):
        axes.annotate(
            f"{shares[name]:.0%}", (shares[name], position), xytext=(4, 0),
            textcoords="offset points", va="center", color=INK,
        )  # fmt: skip
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="share of the variance", xlim=(0, 1.12 * max(shares.values())))
    return figure


def _finished(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _count(study: "optuna.Study", state: str) -> int:
    return sum(
        trial.state.name == state and "too_dear" not in trial.user_attrs for trial in study.trials
    )


def _last_report(trial: "optuna.trial.FrozenTrial") -> float | None:
    if trial.state.name != "PRUNED" or not trial.intermediate_values:
        return None
    return trial.intermediate_values[max(trial.intermediate_values)]


def _summary(trial: "optuna.trial.FrozenTrial") -> dict[str, Any]:
    return {
        "trial": trial.number,
        "directory": f"trials/{trial.user_attrs['directory']}",
        "validation_accuracy": trial.values[0],
        "train_flops": trial.user_attrs["flop"],
        "parameters": trial.params,
    }


def _recipe_of(tuning: Tuning, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> Recipe:
    plan = tuning.plan()
    base = Recipe.parse(plan.recipe, "the recipe of the search")
    space = parse_space(plan.space, "the space of the search", base)
    settings = {
        key: json.loads(value) if isinstance(value, str) and key in space else value
        for key, value in trial.params.items()
    }
    description = (
        f"Trial {trial.number} of {len(study.trials)}, begun with the recipe {base.name}: "
        f"{trial.values[0]:.2%} of the validation images."
    )
    return base.override(settings | {"name": f"{base.name}-tuned", "description": description})
