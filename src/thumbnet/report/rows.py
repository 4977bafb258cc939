"""The rows of the report's comparison table."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thumbnet.evaluation.calibration import expected_calibration_error
from thumbnet.report import words
from thumbnet.report.result import Result


@dataclass(frozen=True)
class Cell:
    """A run's value as text, and whether it is the best."""

    text: str
    best: bool


@dataclass(frozen=True)
class Row:
    """A metric and its value for each run."""

    title: str
    note: str
    cells: tuple[Cell, ...]


def comparison_rows(results: Sequence[Result]) -> list[Row]:
    """The comparison table: one row per metric."""

    def test(name: str) -> list[float | None]:
        return [getattr(result.evaluation, name) for result in results]

    def macro(name: str) -> list[float | None]:
        return [getattr(result.evaluation.macro_average, name) for result in results]

    def metric(name: str) -> list[float | None]:
        return [getattr(result.metrics, name) for result in results]

    intervals = tuple(Cell(words.interval(result), best=False) for result in results)
    macro_intervals = tuple(Cell(words.macro_interval(result), best=False) for result in results)
    calibrated = [
        None
        if result.uncalibrated
        else expected_calibration_error(result.calibrated.confidence, result.calibrated.correct)
        for result in results
    ]
    top_k = f"Top-{results[0].evaluation.top_k} accuracy"
    held_out = "on the validation split"
    ece = "expected calibration error; lower is better"
    scaled = "ECE after temperature scaling"
    rows = [
        _row("Test accuracy", "", _MORE, words.percent, test("accuracy")),
        Row("95% CI", "of the test accuracy", intervals),
        _row(top_k, "", _MORE, words.percent, test("top_k_accuracy")),
        _row("Validation accuracy", held_out, _MORE, words.percent, metric("validation_accuracy")),
        _row("Macro F1", "mean over classes", _MORE, _three, macro("f1")),
        Row("95% CI", "of macro F1", macro_intervals),
        _row("Macro precision", "mean over classes", _MORE, _three, macro("precision")),
        _row("Macro recall", "mean over classes", _MORE, _three, macro("recall")),
        _row("Log loss", "in nats; lower is better", _LESS, _three, test("log_loss")),
        _row("Brier score", "0 to 2; lower is better", _LESS, _three, test("brier_score")),
        _row("ECE", ece, _LESS, _three, test("expected_calibration_error")),
        _row(scaled, "lower is better", _LESS, _three, calibrated),
        _row("MFLOP", "per image", _LESS, _mega, metric("flop_per_image")),
        _row("Parameters", "", _LESS, words.whole, metric("parameters")),
        _row("Model file", "size on disk", _LESS, words.file_size, metric("model_bytes")),
        _row("Training time", "", _LESS, words.duration, metric("train_seconds")),
        _row("Throughput", "images/s", _MORE, words.whole, metric("images_per_second")),
        _row("Latency", "of a single image", _LESS, _milliseconds, metric("latency_ms")),
    ]
    return [row for row in rows if any(cell.text != _UNKNOWN for cell in row.cells)]


_MORE, _LESS = 1, -1
_UNKNOWN = "–"


def _row(
    title: str,
    note: str,
    better: int,
    write: Callable[[float], str],
    values: Sequence[float | None],
) -> Row:
    scores = [-math.inf if value is None else better * value for value in values]
    texts = [_UNKNOWN if value is None else write(value) for value in values]
    # Values that are equal after rounding are equally good.
    best = texts[scores.index(max(scores))] if len(set(texts)) > 1 else None
    return Row(title, note, tuple(Cell(text, text == best) for text in texts))


def _three(value: float) -> str:
    return f"{value:.3f}"


def _mega(value: float) -> str:
    return f"{value / 1e6:.1f}"


def _milliseconds(value: float) -> str:
    return f"{value:.2f} ms"
