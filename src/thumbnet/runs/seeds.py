"""The same recipe with several seeds: how much of a figure is luck."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from thumbnet.atomic import write_json
from thumbnet.runs.run import Run

SUMMARISED = (
    "accuracy",
    "macro_f1",
    "log_loss",
    "expected_calibration_error",
    "validation_accuracy",
    "train_seconds",
)


def summarise_seeds(runs: Sequence[Run]) -> dict[str, Any]:
    """Mean and deviation of the figures of finished runs.

    Returns:
        Plain values for JSON: for each figure its values in the order of `runs`, their mean and
        their sample deviation; None for a figure that a run does not have, and for the deviation
        of a single run.
    """
    metrics = [run.metrics() for run in runs]
    figures: dict[str, Any] = {}
    for name in SUMMARISED:
        values = [one.get(name) for one in metrics]
        known = [value for value in values if value is not None]
        complete = len(known) == len(values)
        figures[name] = {
            "mean": statistics.fmean(known) if complete else None,
            "deviation": statistics.stdev(known) if complete and len(known) > 1 else None,
            "values": values,
        }
    return {
        "recipe": metrics[0]["recipe"],
        "seeds": [one["seed"] for one in metrics],
        "runs": [run.name for run in runs],
        "figures": figures,
    }


def write_seeds(runs: Sequence[Run], out: Path) -> dict[str, Any]:
    """Write `seeds.json` into the directory that holds the runs, and return what it says."""
    summary = summarise_seeds(runs)
    write_json(out / "seeds.json", summary)
    return summary
