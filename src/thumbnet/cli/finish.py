"""The output at the end of a training, and the export that makes `predict` fast."""

import sys
from typing import TYPE_CHECKING

from thumbnet.cli.console import prints_unicode, show
from thumbnet.cli.curves import learning_curves
from thumbnet.cli.tables import print_summary
from thumbnet.errors import ThumbnetError, quoted

if TYPE_CHECKING:
    from thumbnet.data.dataset import Dataset
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import Display

EXPORT = "litert"
"""Starts fastest, and needs no TensorFlow to predict."""
ROBUSTNESS_IMAGES = 200
"""Enough for a first impression in a few seconds; `thumbnet robustness` takes 1,000."""


def finish(
    run: "Run", dataset: "Dataset | None", display: "Display", *, export: bool, quiet: bool
) -> None:
    """Export a finished run, and print its results, its learning curves and the next commands."""
    if export:
        export_for_prediction(run, dataset, display)
    print_summary(run)
    if not quiet:
        print_learning_curves(run)
    display.message("\n".join(["Next:", *(f"  {command}" for command in next_commands(run))]))


def export_for_prediction(run: "Run", dataset: "Dataset | None", display: "Display") -> None:
    """Export to LiteRT if its runtime is installed; a failure is only reported."""
    from thumbnet.engines import is_installed
    from thumbnet.export import export_run
    from thumbnet.runtime import backend

    if not is_installed(EXPORT) or backend() != "tensorflow":
        return
    before = run.exports().get(EXPORT)
    if before is not None and before.source_sha256 == run.metrics().model_sha256:
        return
    try:
        export_run(run, EXPORT, dataset, display.message)
    except (Exception, KeyboardInterrupt) as error:  # the run is complete without it
        reason = str(error) or type(error).__name__
        display.message(f"{run.name}: the run is complete, but was not exported: {reason}")


def analyze_for_report(run: "Run", dataset: "Dataset", display: "Display") -> None:
    """Explain and stress-test a run on a few test images; a failure is only reported."""
    from thumbnet.interpretation.explain import explain_run
    from thumbnet.robustness.measure import measure_robustness
    from thumbnet.runs.model_card import write_model_card

    try:
        if run.explanations() is None:
            explain_run(run, dataset.test, display.message)
        if run.robustness() is None:
            measure_robustness(run, dataset.test, display.message, ROBUSTNESS_IMAGES)
            write_model_card(run)
    except (ThumbnetError, KeyboardInterrupt) as error:  # the report is complete without them
        reason = str(error) or "interrupted"
        display.message(f"{run.name}: the report lacks explanations or robustness: {reason}")


def print_learning_curves(run: "Run") -> None:
    """Draw the accuracy of each epoch, if standard output is a terminal that can show it."""
    if sys.stdout.isatty() and prints_unicode():
        chart = learning_curves(run.history())
        if chart is not None:
            show(chart)


def next_commands(run: "Run") -> list[str]:
    """The commands that a user is likely to want after training, ready to copy."""
    path = quoted(run.path)
    return [
        f"thumbnet report {path}",
        f"thumbnet predict {path} IMAGE…",
        f"thumbnet export {path} --to onnx",
        f"thumbnet serve {path}",
    ]
