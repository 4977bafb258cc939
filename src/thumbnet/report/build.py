"""Builds the report: one self-contained HTML file about one or more runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thumbnet.atomic import write_text
from thumbnet.data.dataset import Dataset
from thumbnet.data.sources.cifar10 import CIFAR10
from thumbnet.evaluation.calibration import risk_coverage
from thumbnet.evaluation.comparison import PairComparison, compare_pair
from thumbnet.figures.charts import (
    class_f1_chart,
    confusion_chart,
    learning_curve,
    reliability_chart,
    reliability_of,
)
from thumbnet.figures.heat import scale_colors
from thumbnet.figures.panels import FROM_RUNS, small_multiples
from thumbnet.figures.trust import (
    corruption_chart,
    frontier_chart,
    projection_chart,
    risk_coverage_chart,
)
from thumbnet.interpretation.explain import load_arrays
from thumbnet.recipes import known_recipes
from thumbnet.report import thumbnails, words
from thumbnet.report.augmented import augmented_images
from thumbnet.report.layers import read_blocks
from thumbnet.report.page import render_page
from thumbnet.report.result import Result, read_results
from thumbnet.report.rows import comparison_rows
from thumbnet.report.svg import inline_svg
from thumbnet.runs.run import Run

MISTAKES, SAMPLES, EXAMPLES = 12, 12, 6  # images in each section


def build_report(
    runs: Sequence[Run | str | Path], path: str | Path, dataset: Dataset | None = None
) -> Path:
    """Write a report on finished runs, tested on the same images.

    Args:
        runs: at least one run or run directory; each gets a column, a colour and a name in the
            report.
        path: the HTML file to write.
        dataset: the images that the runs were tested on; without it, the report shows no images.

    Returns:
        The path of the file.

    Raises:
        InputError: a run is unfinished, damaged or given twice, or the runs were tested on
            different images from each other or from those of `dataset`.
        JobError: the file cannot be written.
    """
    path = Path(path)
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    results = read_results(opened, dataset)
    pairs = [Pair.of(first, second) for first, second in combinations(results, 2)]
    page = render_page(
        "template.html.j2",
        results=results,
        ranked=_ranked(results),
        pairs=pairs,
        rows=comparison_rows(results),
        charts=_charts(results),
        images=_images(results, pairs, dataset),
        heat_colors=scale_colors(),
        blocks=[read_blocks(result.run.layers_path) for result in results],
    )
    write_text(path, page)
    return path


@dataclass(frozen=True, eq=False)
class Pair:
    """Two results and their comparison."""

    first: Result
    second: Result
    comparison: PairComparison

    @classmethod
    def of(cls, first: Result, second: Result) -> "Pair":
        comparison = compare_pair(first.name, first.predictions, second.name, second.predictions)
        return cls(first, second, comparison)


def _ranked(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda result: -result.evaluation.accuracy)


def _charts(results: Sequence[Result]) -> dict[str, Any]:
    """All charts as inline SVG, with text alternatives."""
    evaluations = {result.name: result.evaluation for result in results}
    scores = [
        f"{result.name}: "
        + ", ".join(f"{c.name} {c.f1 or 0:.2f}" for c in result.evaluation.classes)
        for result in results
    ]
    return {
        "learning": [
            (metric, _learning_charts(results, metric))
            for metric in ("loss", "accuracy", "top_5_accuracy")
            if any(metric in result.history.columns() for result in results)
        ],
        "confusion": [_confusion_chart(number, result) for number, result in enumerate(results)],
        "class_f1": inline_svg(
            class_f1_chart(evaluations), "class-f1", f"F1 of each class. {'. '.join(scores)}."
        ),
        "reliability": _curves(
            results,
            "reliability",
            lambda some, ax: reliability_chart(
                {one.name: one.predictions for one in some}, _most_images(results), ax
            ),
            lambda some: (
                "Accuracy against confidence. " + " ".join(map(words.confidence_sentence, some))
            ),
        ),
        "calibrated": _calibrated_charts(results),
        "risk_coverage": _curves(
            results,
            "risk-coverage",
            lambda some, ax: risk_coverage_chart({one.name: one.calibrated for one in some}, ax),
            lambda some: (
                "Error rate of the most confident predictions, against coverage. "
                + " ".join(
                    f"{one.name}: area under the curve {risk_coverage(one.calibrated).area:.3f}."
                    for one in some
                )
            ),
        ),
        "frontier": _frontier_chart(results),
        "robustness": [_robustness_chart(number, result) for number, result in enumerate(results)],
        "projection": [_projection_chart(number, result) for number, result in enumerate(results)],
    }


def _most_images(results: Sequence[Result]) -> float:
    """The largest fraction of images in a confidence bin of either reliability chart."""
    bins = [
        reliability_of(predictions)
        for result in results
        for predictions in (result.predictions, result.calibrated)
    ]
    return max(float(one.images.max() / one.images.sum()) for one in bins)


def _calibrated_charts(results: Sequence[Result]) -> list[Markup]:
    if all(result.uncalibrated for result in results):
        return []
    return _curves(
        results,
        "reliability-calibrated",
        lambda some, ax: reliability_chart(
            {one.name: one.calibrated for one in some}, _most_images(results), ax
        ),
        lambda some: (
            "Accuracy against confidence after temperature scaling. "
            + " ".join(map(words.temperature_sentence, some))
        ),
    )


def _learning_charts(results: Sequence[Result], metric: str) -> list[Markup]:
    return _curves(
        results,
        f"learning-{metric}",
        lambda some, ax: learning_curve({one.name: one.history for one in some}, metric, ax),
        lambda some: words.learning_description(some, metric),
    )


def _curves(
    results: Sequence[Result],
    prefix: str,
    draw: Callable[[Sequence[Result], Axes | None], Figure],
    describe: Callable[[Sequence[Result]], str],
) -> list[Markup]:
    """One chart with the curves of all runs; from four runs on, a small chart of each."""
    if len(results) < FROM_RUNS:
        return [inline_svg(draw(results, None), prefix, describe(results))]
    named = {result.name: result for result in results}
    figures = small_multiples(list(named), lambda name, ax: draw([named[name]], ax))
    return [
        inline_svg(figure, f"{prefix}-{number}", describe([result]))
        for number, (figure, result) in enumerate(zip(figures, results, strict=True))
    ]


def _is_of_cifar10(result: Result) -> bool:
    """Whether the test images have the digest of CIFAR-10's; a name proves nothing."""
    digests = result.environment.data.digests
    return digests.get("test_images") == CIFAR10.digests["test_images"]


def _frontier_chart(results: Sequence[Result]) -> Markup | None:
    """Accuracy against FLOP; None if a run was not tested on all of CIFAR-10."""
    placed = {
        result.name: (result.metrics.flop_per_image, result.evaluation.accuracy)
        for result in results
        if _is_of_cifar10(result)
    }
    if len(placed) < len(results):
        return None
    known = known_recipes()
    return inline_svg(
        frontier_chart(placed, known),
        "frontier",
        "Test accuracy against FLOP per image. "
        + " ".join(
            f"{name}: {words.percent(accuracy)} with {flop / 1e6:.1f} MFLOP."
            for name, (flop, accuracy) in placed.items()
        )
        + " Shipped recipes: "
        + ", ".join(
            f"{one.name} {words.percent(one.accuracy)} with {one.flop_per_image / 1e6:.1f} MFLOP"
            for one in known
        )
        + ".",
    )


def _robustness_chart(number: int, result: Result) -> Markup | None:
    if result.robustness is None or result.robustness.corruptions is None:
        return None
    return inline_svg(
        corruption_chart(result.robustness.corruptions.accuracy),
        f"robustness-{number}",
        f"Accuracy by corruption and severity. {words.robustness_sentence(result)}",
    )


def _projection_chart(number: int, result: Result) -> Markup | None:
    if result.explanations is None:
        return None
    arrays, explained = load_arrays(result.run), result.explanations.projected_variance
    return inline_svg(
        projection_chart(arrays["points"], arrays["point_labels"], result.predictions.class_names),
        f"projection-{number}",
        f"Features of {result.name} before its last layer, projected onto two principal "
        f"components, which explain {words.percent(explained)} of the variance. Each dot is a test "
        "image.",
    )


def _confusion_chart(number: int, result: Result) -> Markup:
    """The confusion matrix."""
    mistakes = "; ".join(
        f"{true} predicted as {predicted}, {times:,} of {images:,}"
        for true, predicted, times, images in words.top_confusions(result, 5)
    )
    most = f"Most frequent: {mistakes}." if mistakes else "There are no mistakes."
    return inline_svg(
        confusion_chart(result.evaluation),
        f"confusion-{number}",
        f"Confusion matrix of {result.name}, in percent of each row. {most}",
    )


def _images(
    results: Sequence[Result], pairs: Sequence[Pair], dataset: Dataset | None
) -> dict[str, Any] | None:
    """All images of the report; for pairs of runs, only for pairs with the best run."""
    if dataset is None:
        return None
    gallery, best = thumbnails.Gallery(results, dataset.test), _ranked(results)[0]
    samples = gallery.samples(SAMPLES)
    return {
        "samples": samples,
        "mistakes": [gallery.mistakes(result, MISTAKES) for result in results],
        "confused": [gallery.confused(result, 2 * EXAMPLES) for result in results],
        "uncertain": [gallery.uncertain(result, EXAMPLES) for result in results],
        "suspects": [gallery.label_suspects(result, EXAMPLES) for result in results],
        "why": [thumbnails.reasons(result, dataset.test) for result in results],
        "augmented": [augmented_images(result, dataset) for result in results],
        "corruptions": thumbnails.corruptions(results, dataset.test),
        "duplicates": thumbnails.duplicates(results, dataset, EXAMPLES),
        "pairs": [
            (pair, *gallery.only_right(pair.comparison, pair.first, pair.second, EXAMPLES))
            for pair in pairs
            if best in (pair.first, pair.second)
        ],
    }
