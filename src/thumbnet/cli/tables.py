"""Tables of results for the terminal, and the same results as plain values."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from rich.table import Table

from thumbnet.cli.console import BEST, Cell, echo, new_table, show, styled, width, width_of
from thumbnet.csv_files import print_table
from thumbnet.data.check import CheckedData
from thumbnet.data.info import DatasetInfo
from thumbnet.evaluation.records import Calibration, ClassScores, Evaluation
from thumbnet.runs.records import Audit, LearningCurve, Metrics, Robustness, SeedSummary
from thumbnet.runs.run import Run

if TYPE_CHECKING:
    from thumbnet.evaluation.comparison import PairComparison

SHOWN_OF_A_KIND = 3
"""Number of problems of each kind that `data check` prints."""


def print_summary(run: Run) -> None:
    """Print a short summary of a finished run."""
    metrics = run.metrics()
    print_comparison([run])
    if metrics.test_duplicates:
        show(_describe_duplicates(run))
    show(f"{run.name} {metrics.stop_reason}\nRun: {run.path}")


def _describe_duplicates(run: Run) -> str:
    """The accuracy without the test images that are also training or validation images."""
    metrics = run.metrics()
    others = metrics.test_images - metrics.test_duplicates
    without = metrics.accuracy_without_duplicates
    if without is None:
        rest = "no other test images remain"
    else:
        rest = f"accuracy on the other {others:,}: {without:.2%}"
    return (
        f"{run.name}: {metrics.test_duplicates:,} of {metrics.test_images:,} test images are also "
        f"training or validation images, pixel by pixel; {rest}; `thumbnet data check` lists them"
    )


def print_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Print all metrics of an evaluation: classes, averages and the confusion matrix."""
    if run.metrics().test_duplicates:
        show(_describe_duplicates(run))
    show(
        f"{run.name}: accuracy {evaluation.accuracy:.2%} on {evaluation.test_images:,} test images "
        f"(95% CI {evaluation.accuracy_low:.2%} to {evaluation.accuracy_high:.2%})\n"
        f"top-{evaluation.top_k} accuracy {evaluation.top_k_accuracy:.2%}, "
        f"log loss {evaluation.log_loss:.4f}, Brier score {evaluation.brier_score:.4f}, "
        f"ECE {evaluation.expected_calibration_error:.4f} (15 bins)\n"
        f"{_describe_calibration(run.metrics().calibration)}"
    )
    classes = new_table("class", "precision", "recall", "F1", "95% CI of F1", "images")
    for row in class_rows(evaluation):
        figures = [
            "none" if value is None else f"{value:.4f}"
            for value in (row.precision, row.recall, row.f1)
        ]
        interval = "–" if row.f1_low is None else f"{row.f1_low:.3f} to {row.f1_high:.3f}"
        classes.add_cells(row.name, *figures, interval, f"{row.support:,}")
    show(classes)
    if len(evaluation.classes) <= 20:  # a larger matrix does not fit a terminal
        matrix = _confusion_table(evaluation)
        fits = width_of(matrix) <= width()
        show(matrix if fits else _confusion_table(evaluation, numbered=True))


def class_rows(evaluation: Evaluation) -> list[ClassScores]:
    """One row per class, then the macro and the weighted average."""
    return [*evaluation.classes, evaluation.macro_average, evaluation.weighted_average]


def print_comparison(runs: Sequence[Run]) -> None:
    """Print runs side by side, as many as fit in the terminal, and McNemar's test of each pair."""
    pairs = compare_all(runs)  # refuses incomparable runs before anything is printed
    rows = _comparison_rows([run.metrics() for run in runs])
    names = [run.name for run in runs]
    columns = len(runs)
    while columns > 1 and width_of(_comparison_table(names, rows, slice(columns))) > width():
        columns -= 1
    for start in range(0, len(runs), columns):
        show(_comparison_table(names, rows, slice(start, start + columns)))
    for pair in pairs:
        show(str(pair))


def _comparison_table(names: list[str], rows: dict[str, list[Cell]], shown: slice) -> Table:
    table = new_table("", *names[shown])
    for label, cells in rows.items():
        table.add_cells(label, *cells[shown])
    return table


def compare_all(runs: Sequence[Run]) -> "list[PairComparison]":
    """Compare every pair of runs."""
    from thumbnet.evaluation.comparison import compare_pair  # imports scikit-learn

    named = [(run.name, run.predictions()) for run in runs]
    return [compare_pair(*first, *second) for first, second in combinations(named, 2)]


def comparison_values(runs: Sequence[Run]) -> dict[str, Any]:
    """The comparison as plain values for JSON; `ids` are of test images."""
    ids = runs[0].predictions().ids
    return {
        "runs": [{"path": str(run.path), **run.metrics().model_dump()} for run in runs],
        "pairs": [
            asdict(pair)
            | {
                "only_first": ids[pair.only_first].tolist(),
                "only_second": ids[pair.only_second].tolist(),
            }
            for pair in compare_all(runs)
        ],
    }


def print_data_info(info: DatasetInfo) -> None:
    """Print a description of a dataset: class counts, pixel statistics and digests."""
    height, width, channels = info.image_shape
    parts = {"training": info.train, "validation": info.validation, "test": info.test}
    splits = {f"{name} images": part for name, part in parts.items() if part}
    counts = new_table("class", *splits)
    for name in info.train.counts:
        counts.add_cells(name, *(f"{part.counts[name]:,}" for part in splits.values()))
    counts.add_section()
    counts.add_cells("all", *(f"{part.images:,}" for part in splits.values()))

    pixels = new_table("pixel values", "range", "mean per channel", "std per channel")
    for name, part in splits.items():
        low, high = part.value_range
        figures = [
            "  ".join(f"{value:.4f}" for value in values)
            for values in (part.channel_mean, part.channel_std)
        ]
        pixels.add_cells(name, f"{low} to {high}", *figures)

    longest = max(map(len, info.digests))
    digests = "\n".join(
        f"{name.replace('_', ' '):<{longest}} {digest}" for name, digest in info.digests.items()
    )
    show(
        f"{info.name}, from: {info.source}\n"
        f"uint8 images of {height}×{width} pixels with {channels} channels; mean and std are for "
        "pixel values scaled to 0–1"
    )
    show(counts)
    show(pixels)
    show(f"SHA-256\n{digests}")


def print_checked_data(checked: CheckedData) -> None:
    """Print the problems by their effect, the first few of each kind; then the counts."""
    effects = {
        "Training refuses:": [one for one in checked.problems if one.stops_training],
        "Test metrics would be wrong:": [
            one for one in checked.problems if one.spoils_figures and not one.stops_training
        ],
        "Recommendations:": [one for one in checked.problems if one.is_advice],
    }
    for heading, problems in effects.items():
        if problems:
            echo(heading)
        kinds = Counter(problem.kind for problem in problems)
        for kind, count in kinds.items():
            first = [one for one in problems if one.kind == kind][:SHOWN_OF_A_KIND]
            for one in first:
                echo(f"  {one.path} {one.message}: {one.remedy}")
            if count > len(first):
                echo(f"  … and {count - len(first):,} more: {kind} (--json lists all)")
    kinds = Counter(problem.kind for problem in checked.problems)
    found = ", ".join(f"{count:,} × {kind}" for kind, count in kinds.items()) or "no problems"
    echo(f"{checked.images:,} images: {found}")


def print_csv(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as CSV."""
    print_table(rows, sys.stdout)


def _calibrated_error(calibration: Calibration) -> float | None:
    return calibration.after.expected_calibration_error if calibration.after else None


@dataclass(frozen=True)
class _Compared:
    """A row of the comparison: a metric, its format, and whether more (1) or less is better."""

    value: Callable[[Metrics], float | None]
    write: Callable[[float], str]
    better: int = 0


def _four(value: float) -> str:
    return f"{value:.4f}"


_COMPARED = {
    "test accuracy": _Compared(lambda m: m.accuracy, lambda v: f"{v:.2%}", 1),
    "macro precision": _Compared(lambda m: m.macro_precision, _four, 1),
    "macro recall": _Compared(lambda m: m.macro_recall, _four, 1),
    "macro F1": _Compared(lambda m: m.macro_f1, _four, 1),
    "log loss": _Compared(lambda m: m.log_loss, _four, -1),
    "ECE": _Compared(lambda m: m.expected_calibration_error, _four, -1),
    "ECE after temperature scaling": _Compared(
        lambda m: _calibrated_error(m.calibration), _four, -1
    ),
    "parameters": _Compared(lambda m: m.parameters, lambda v: f"{v:,.0f}", -1),
    "model file": _Compared(lambda m: m.model_bytes, lambda v: f"{v / 1e6:.1f} MB", -1),
    "training time": _Compared(lambda m: m.train_seconds, lambda v: f"{v:.0f} s", -1),
    "throughput": _Compared(lambda m: m.images_per_second, lambda v: f"{v:,.0f} images/s", 1),
    "latency, one image": _Compared(lambda m: m.latency_ms, lambda v: f"{v:.1f} ms", -1),
}


def _comparison_rows(metrics: Sequence[Metrics]) -> dict[str, list[Cell]]:
    """The cells of each row; if several runs are compared, the best value of a row is marked."""
    rows: dict[str, list[Cell]] = {}
    for label, row in _COMPARED.items():
        values = [row.value(one) for one in metrics]
        texts = ["none" if value is None else row.write(value) for value in values]
        scores = [-math.inf if value is None else row.better * value for value in values]
        # Values that are equal after rounding are equally good.
        best = texts[scores.index(max(scores))] if len(set(texts)) > 1 else None
        rows[label] = [styled(text, BEST) if text == best else text for text in texts]
        if label == "test accuracy":
            rows["95% CI"] = [f"{m.accuracy_low:.1%} to {m.accuracy_high:.1%}" for m in metrics]
    return rows


def _describe_calibration(calibration: Calibration) -> str:
    before, after = calibration.before, calibration.after
    if after is None:
        return f"confidence is uncalibrated: {calibration.reason}"
    return (
        f"temperature scaling (T = {calibration.temperature:.3f}, fitted on "
        f"{calibration.validation_images:,} validation images): ECE "
        f"{before.expected_calibration_error:.4f} before, "
        f"{after.expected_calibration_error:.4f} after; log loss {before.log_loss:.4f} "
        f"before, {after.log_loss:.4f} after"
    )


def print_robustness(run: Run, found: Robustness) -> None:
    """Print accuracy on corrupted, shifted and adversarial images, and on published test sets."""
    if corruptions := found.corruptions:
        show(
            f"{run.name}: accuracy {found.clean_accuracy:.1%} on {found.images:,} clean test "
            f"images, {corruptions.mean_accuracy:.1%} on corrupted ones "
            f"({corruptions.style}; mean corruption error "
            f"{corruptions.mean_corruption_error:.1%})"
        )
        table = new_table("corruption", *(f"severity {number}" for number in range(1, 6)), "mean")
        for name, row in corruptions.accuracy.items():
            mean = sum(row) / len(row)
            table.add_cells(name.replace("_", " "), *(f"{value:.1%}" for value in [*row, mean]))
        for name, accuracy in found.changes.items():
            table.add_cells(name, *[""] * 5, f"{accuracy:.1%}")
        for attack in found.attacks:
            title = f"{attack.attack}, radius {attack.radius}"
            table.add_cells(title, *[""] * 5, f"{attack.accuracy:.1%}")
        show(table)
    for name, benchmark in found.benchmarks.items():
        show(
            f"{run.name}: accuracy {benchmark.mean_accuracy:.1%} on {name}, "
            f"files checked {benchmark.rows[0].checked}"
        )


def describe_audit(run: Run, found: Audit) -> str:
    """The number of near-duplicates, and the accuracy without them."""
    without = found.accuracy_without
    rest = "no other test images remain" if without is None else f"without them {without:.2%}"
    return (
        f"{run.name}: {found.near_duplicates:,} of {found.test_images:,} test images have a "
        f"near-duplicate among the training images ({found.identical:,} identical, "
        f"{found.other_label:,} with a different label)\n"
        f"accuracy {found.accuracy:.2%}, {rest}\n"
        f"Pairs: {run.path / 'near_duplicates.csv'}"
        + "".join(
            f"\n{pair.test} (test) resembles {pair.train} (training)" for pair in found.most_similar
        )
    )


def print_learning_curve(run: Run, curve: LearningCurve) -> None:
    """Print accuracy and the recall of each class by number of images, and the extrapolation."""
    table = new_table("", *(f"{point.train_images:,} images" for point in curve.points))
    table.add_cells("accuracy", *(f"{point.accuracy:.1%}" for point in curve.points))
    for number, name in enumerate(curve.classes):
        recalls = [point.recall[number] for point in curve.points]
        texts = ["–" if recall is None else f"{recall:.1%}" for recall in recalls]
        table.add_cells(f"recall of {name}", *texts)
    show(table)
    more = curve.more
    show(
        f"{more.per_class} more images of each class are likely to add {100 * more.gain:.1f} "
        f"points (95% CI {100 * more.low:.1f} to {100 * more.high:.1f}), judging by "
        f"{curve.validation_images:,} validation images; {curve.neediest} needs them most\n"
        f"Chart: {run.figures_path / 'accuracy_by_images.svg'}"
    )


def print_seeds(summary: SeedSummary) -> None:
    """Print mean and std of each metric over seeds, and the value of each seed."""
    table = new_table("", "mean", "std", *(f"seed {seed}" for seed in summary.seeds))
    for name, figure in summary.figures.items():
        values = [figure.mean, figure.std, *figure.values]
        texts = ["–" if value is None else f"{value:.4f}" for value in values]
        table.add_cells(name.replace("_", " "), *texts)
    show(table)


def _confusion_table(evaluation: Evaluation, numbered: bool = False) -> Table:
    """The confusion matrix; with `numbered`, columns have numbers, to fit a narrow terminal."""
    names = [scores.name for scores in evaluation.classes]
    if numbered:
        columns = [str(number) for number in range(1, len(names) + 1)]
        names = [f"{number:>2} {name}" for number, name in enumerate(names, 1)]
    else:
        columns = names
    table = new_table("true \\ predicted", *columns)
    for index, row in enumerate(evaluation.confusion):
        texts = [str(count) if count else "·" for count in row]
        cells: list[Cell] = [*texts[:index], styled(texts[index], BEST), *texts[index + 1 :]]
        table.add_cells(names[index], *cells)
    return table
