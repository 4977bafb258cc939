"""Writes the results of a search: findings, best recipe, figures and report."""

from thumbnet.atomic import write_text
from thumbnet.figures.style import save_figure
from thumbnet.record import write_record
from thumbnet.tuning.figures import (
    cost_chart,
    importance_chart,
    parameter_chart,
    search_chart,
    validation_chart,
)
from thumbnet.tuning.findings import Findings, find
from thumbnet.tuning.report import build_search_report
from thumbnet.tuning.study import Tuning


def write_findings(tuning: Tuning) -> Findings:
    """Write `findings.json`, and, if a trial has finished, `best.toml`, figures and the report.

    Existing files are overwritten.

    Raises:
        JobError: the storage cannot be reached, or a file cannot be written.
    """
    findings = find(tuning)
    write_record(tuning.path / "findings.json", findings.record())
    if findings.recipe is None:
        return findings
    write_text(tuning.best_path, findings.recipe.to_toml())
    tuning.figures_path.mkdir(exist_ok=True)
    varied = tuning.plan().dimensions()
    outcomes, best = findings.outcomes, {outcome.number for outcome in findings.best}
    figures = {
        "search": search_chart(outcomes),
        "validation": validation_chart(outcomes, best),
        "cost": cost_chart(outcomes, best, tuning.plan().cost_limit),
        "parameters": parameter_chart(
            outcomes, [key for key in varied if key in findings.best[0].parameters]
        ),
    }
    if findings.importances:
        figures["importances"] = importance_chart(findings.importances)
    for name, figure in figures.items():
        save_figure(figure, tuning.figures_path / f"{name}.svg")
    build_search_report(tuning, findings, figures)
    return findings
