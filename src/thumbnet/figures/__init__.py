"""Pictures of results: one function a figure, and all of a run's in one call."""

from thumbnet.data.dataset import Dataset
from thumbnet.evaluation.metrics import evaluate
from thumbnet.evaluation.mistakes import (
    confused_examples,
    least_certain_right,
    likely_label_errors,
    most_confident_mistakes,
)
from thumbnet.figures.charts import (
    class_f1_chart,
    confusion_chart,
    learning_curve,
    reliability_chart,
)
from thumbnet.figures.grids import image_grid, predicted_grid, samples_grid
from thumbnet.figures.style import save_figure
from thumbnet.runs.run import Run

__all__ = [
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


def write_figures(run: Run, dataset: Dataset | None) -> None:
    """Write a run's figures into its directory: charts as SVG, grids of images as PNG.

    Args:
        run: a run with predictions.
        dataset: the images it was tested on; without them there are no grids.

    Raises:
        InputError: the run has no predictions.
        JobError: a file cannot be written.
    """
    predictions, history = run.predictions(), run.history()
    evaluation = evaluate(predictions)
    figures = {
        "confusion.svg": confusion_chart(evaluation),
        "confusion_normalised.svg": confusion_chart(evaluation, normalised=True),
        "class_f1.svg": class_f1_chart({run.name: evaluation}),
        "reliability.svg": reliability_chart({run.name: predictions}),
    }
    for metric in ("loss", "accuracy"):
        if any(metric in row for row in history):
            figures[f"learning_{metric}.svg"] = learning_curve({run.name: history}, metric)
    if dataset is not None:
        figures["samples.png"] = samples_grid(predictions, dataset.test)
        chosen = {
            "mistakes.png": most_confident_mistakes(predictions, GRID),
            "confused_pairs.png": confused_examples(predictions, GRID),
            "uncertain.png": least_certain_right(predictions, GRID),
            "label_suspects.png": likely_label_errors(predictions)[:GRID],
        }
        for name, positions in chosen.items():
            if len(positions):
                figures[name] = predicted_grid(predictions, dataset.test, positions)
    for name, figure in figures.items():
        save_figure(figure, run.figures_path / name)
