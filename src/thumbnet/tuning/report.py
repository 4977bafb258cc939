"""The HTML report of a search."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from thumbnet.atomic import write_text
from thumbnet.recipe import Recipe
from thumbnet.report import words
from thumbnet.report.page import render_page
from thumbnet.report.svg import inline_svg
from thumbnet.tuning.figures import short_name
from thumbnet.tuning.study import (
    COMPARED_TRIALS,
    FIRST_PRUNED_QUARTER,
    KEPT_PERCENT,
    QUARTERS,
    Plan,
    Tuning,
)

if TYPE_CHECKING:
    from thumbnet.tuning.findings import Findings

_NOT_COMPARED = ("name", "description")


@dataclass(frozen=True)
class Change:
    """A recipe key that differs: its value in the initial and in the best recipe, as text."""

    key: str
    before: str
    after: str


def build_search_report(
    tuning: Tuning, findings: "Findings", figures: Mapping[str, Figure]
) -> Path:
    """Write the report of a search, and return its path.

    Args:
        tuning: the search.
        findings: its results so far, with at least one finished trial.
        figures: its charts: "search", "validation", "cost", "parameters", and "importances" if
            there are any.

    Raises:
        JobError: the file cannot be written.
    """
    plan, recipe = tuning.plan(), findings.recipe
    if recipe is None:
        raise ValueError("no trial has finished")
    descriptions = _descriptions(findings, plan)
    page = render_page(
        Path(__file__).with_name("report.html.j2"),
        base=plan.base(),
        plan=plan,
        findings=findings,
        best=findings.best[0],
        counts=findings.counts(),
        changes=_changes(plan.base(), recipe),
        varied=list(plan.dimensions()),
        recipe_text=recipe.to_toml(),
        directory=tuning.path,
        resume_command=tuning.resume_command.strip("`"),
        charts={
            name: inline_svg(figure, name, descriptions[name]) for name, figure in figures.items()
        },
        headline=headline(findings, plan),
        pruning={
            "fraction": FIRST_PRUNED_QUARTER / QUARTERS,
            "percentile": f"{100 - KEPT_PERCENT:.0f}",
            "startup": COMPARED_TRIALS,
        },
        text=_text,
        short=short_name,
    )
    write_text(tuning.report_path, page)
    return tuning.report_path


def headline(findings: "Findings", plan: Plan) -> str:
    """One sentence with the best trial's accuracy and cost, and the number of trials."""
    best = findings.best[0]
    fraction = (best.flop or 0) / plan.cost_limit
    trained = sum(bool(outcome.curve) for outcome in findings.outcomes)
    return (
        f"Trial {best.number} is the best of {trained} trained trials: validation accuracy "
        f"{words.percent(best.accuracy or 0)}, with {words.percent(fraction)} of the FLOP limit."
    )


def _changes(before: Recipe, after: Recipe) -> list[Change]:
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return [
        Change(key, _text(old.get(key)), _text(new[key]))
        for key in new
        if old.get(key) != new[key] and key not in _NOT_COMPARED
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _descriptions(findings: "Findings", plan: Plan) -> dict[str, str]:
    """Text alternatives of the charts."""
    curves = " ".join(
        f"Trial {one.number}: {', '.join(map(words.percent, one.curve))}." for one in findings.best
    )
    front = "; ".join(
        f"{words.percent(one.accuracy or 0)} with {(one.flop or 0) / 1e12:.3g} TFLOP"
        for one in findings.best
    )
    importances = ", ".join(f"{key} {value:.0%}" for key, value in findings.importances.items())
    return {
        "search": f"Validation accuracy by trial. {headline(findings, plan)}",
        "validation": f"Validation accuracy over the epochs of each trial. {curves}",
        "cost": f"Validation accuracy against training FLOP. Best: {front}.",
        "parameters": f"Validation accuracy against each of {len(plan.dimensions())} parameters.",
        "importances": f"Fraction of the accuracy's variance explained: {importances}.",
    }
