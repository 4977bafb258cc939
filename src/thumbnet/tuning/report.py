"""The page of a search: what was found, and how it went."""

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
from thumbnet.tuning.study import Plan, Tuning

if TYPE_CHECKING:
    from thumbnet.tuning.findings import Findings

_NOT_COMPARED = ("name", "description")


@dataclass(frozen=True)
class Change:
    """A value of the recipe that the search began with, and that of the best; both as text."""

    key: str
    before: str
    after: str


def build_search_report(
    tuning: Tuning, findings: "Findings", figures: Mapping[str, Figure]
) -> Path:
    """Write the page of a search in which a trial has finished; returns its path.

    Args:
        tuning: the search.
        findings: what it showed so far.
        figures: its charts: "search", "validation", "cost", "parameters", and "importances" where
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
        charts={
            name: inline_svg(figure, name, descriptions[name]) for name, figure in figures.items()
        },
        headline=headline(findings, plan),
        text=_text,
        short=short_name,
    )
    write_text(tuning.report_path, page)
    return tuning.report_path


def headline(findings: "Findings", plan: Plan) -> str:
    """What the best trial reached, at which cost, out of how many."""
    best = findings.best[0]
    share = (best.flop or 0) / plan.cost_limit
    trained = sum(bool(outcome.curve) for outcome in findings.outcomes)
    return (
        f"Trial {best.number}, the best of {trained} that were trained, is right on "
        f"{words.percent(best.accuracy or 0)} of the validation images, with "
        f"{words.percent(share)} of the arithmetic that was allowed."
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
    """What each chart shows, for those who do not see it."""
    curves = " ".join(
        f"Trial {one.number}: {', '.join(map(words.percent, one.curve))}." for one in findings.best
    )
    front = "; ".join(
        f"{words.percent(one.accuracy or 0)} with {(one.flop or 0) / 1e12:.3g} TFLOP"
        for one in findings.best
    )
    shares = ", ".join(f"{key} {share:.0%}" for key, share in findings.importances.items())
    return {
        "search": f"Validation accuracy by trial. {headline(findings, plan)}",
        "validation": f"Validation accuracy over the epochs of each trial. {curves}",
        "cost": f"Validation accuracy against the arithmetic of training. Best: {front}.",
        "parameters": f"Validation accuracy against each of {len(plan.dimensions())} parameters.",
        "importances": f"Share of the variance of the accuracy: {shares}.",
    }
