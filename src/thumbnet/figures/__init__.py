"""Figures of results: one function per figure, and `write_figures` for all of a run."""

import time
from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from thumbnet.data.dataset import Dataset
from thumbnet.evaluation.mistakes import (
    confused_examples,
    least_confident_correct,
    likely_label_errors,
    most_confident_mistakes,
)
from thumbnet.evaluation.predictions import Predictions
from thumbnet.evaluation.records import Evaluation
from thumbnet.figures.charts import (
    class_f1_chart,
    confusion_chart,
    learning_curve,
    reliability_chart,
)
from thumbnet.figures.grids import image_grid, predicted_grid, sample_positions, samples_grid
from thumbnet.figures.style import add_title, label, save_figure
from thumbnet.runs.run import Run

__all__ = [
    "add_title",
    "class_f1_chart",
    "confusion_chart",
    "image_grid",
    "learning_curve",
    "predicted_grid",
    "reliability_chart",
    "samples_grid",
    "save_figure",
    "write_figures",
]

GRID = 24
SECONDS = 120.0  # drawing time after which no further figure is started
_GRIDS = ("samples", "mistakes", "confused_pairs", "uncertain", "label_suspects")


def write_figures(
    run: Run,
    predictions: Predictions,
    calibrated: Predictions,
    evaluation: Evaluation,
    dataset: Dataset | None,
    report: Callable[[str], None],
) -> None:
    """Write a run's figures into its directory: charts as SVG and PNG, image grids as PNG.

    A figure that cannot be drawn or written is skipped with a message, and so are those that have
    not been started within `SECONDS`: a run counts as finished without its figures.

    Args:
        run: the run; its history is drawn too.
        predictions: predictions for its test images.
        calibrated: the same after temperature scaling; image grids show its confidence.
        evaluation: evaluation of `predictions`.
        dataset: the images it was tested on; without them there are no image grids.
        report: called with a message for each figure that is skipped.
    """
    began = time.monotonic()
    about = f"{label(run.name)}, {len(predictions):,} test images"
    if dataset is not None:
        about = f"{label(run.name)} on {label(dataset.name)}, {len(predictions):,} test images"
    figures = _figures(run, predictions, calibrated, evaluation, dataset)
    for number, (name, title, draw) in enumerate(figures):
        if time.monotonic() - began > SECONDS:
            left = ", ".join(name for name, _, _ in figures[number:])
            report(f"figures skipped after {SECONDS:.0f} s: {left}; the run is finished")
            return
        try:
            figure = draw()
            add_title(figure, title, about)
            for suffix in (".png",) if name in _GRIDS else (".svg", ".png"):
                save_figure(figure, run.figures_path / f"{name}{suffix}")
        except Exception as error:  # Matplotlib can raise many kinds of exceptions
            report(f"the figure {name} cannot be written: {error}; the run is finished")


def _figures(
    run: Run,
    predictions: Predictions,
    calibrated: Predictions,
    evaluation: Evaluation,
    dataset: Dataset | None,
) -> list[tuple[str, str, Callable[[], Figure]]]:
    """Name, title and drawing function of each figure."""
    history = run.history()
    figures: list[tuple[str, str, Callable[[], Figure]]] = [
        (
            "confusion",
            "Confusion matrix, in percent of each row",
            lambda: confusion_chart(evaluation),
        ),
        ("class_f1", "F1 of each class, 95% CI", lambda: class_f1_chart({run.name: evaluation})),
        (
            "reliability",
            "Reliability, before temperature scaling",
            lambda: reliability_chart({run.name: predictions}),
        ),
    ]
    for metric in ("loss", "accuracy"):
        if metric in history.columns():
            draw = partial(learning_curve, {run.name: history}, metric)
            figures.append((f"learning_{metric}", metric.capitalize(), draw))
    if dataset is None:
        return figures
    chosen = {
        "samples": ("Sample predictions", sample_positions(len(predictions), GRID)),
        "mistakes": ("Most confident mistakes", most_confident_mistakes(calibrated, GRID)),
        "confused_pairs": ("Most confused classes", confused_examples(calibrated, GRID)),
        "uncertain": (
            "Least confident correct predictions",
            least_confident_correct(calibrated, GRID),
        ),
        "label_suspects": ("Possible label errors", likely_label_errors(predictions)[:GRID]),
    }
    for name in _GRIDS:
        title, positions = chosen[name]
        if len(positions):
            grid = partial(predicted_grid, calibrated, dataset.test, positions)
            figures.append((name, title, grid))
    return figures
