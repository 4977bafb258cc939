"""Mean and std of the metrics of one recipe over several seeds."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from thumbnet.record import write_record
from thumbnet.runs.records import SeedFigure, SeedSummary
from thumbnet.runs.run import Run

SUMMARISED = (
    "accuracy",
    "macro_f1",
    "log_loss",
    "expected_calibration_error",
    "validation_accuracy",
    "train_seconds",
)


def summarise_seeds(runs: Sequence[Run]) -> SeedSummary:
    """Mean and standard deviation of the metrics of finished runs.

    Returns:
        For each metric, its values in the order of `runs`, their mean and sample standard
        deviation. The mean is None if a run lacks the metric; so is the standard deviation, which
        is also None for a single run.
    """
    metrics = [run.metrics() for run in runs]
    return SeedSummary(
        recipe=metrics[0].recipe,
        seeds=[one.seed for one in metrics],
        runs=[run.name for run in runs],
        figures={name: _summarise([getattr(one, name) for one in metrics]) for name in SUMMARISED},
    )


def write_seeds(runs: Sequence[Run], out: Path) -> SeedSummary:
    """Write `seeds.json` into the parent directory of the runs, and return its content."""
    summary = summarise_seeds(runs)
    write_record(out / "seeds.json", summary)
    return summary


def _summarise(values: list[float | None]) -> SeedFigure:
    known = [value for value in values if value is not None]
    complete = len(known) == len(values)
    return SeedFigure(
        mean=statistics.fmean(known) if complete else None,
        std=statistics.stdev(known) if complete and len(known) > 1 else None,
        values=values,
    )
