"""Checks that training is not slower or less accurate than the committed baseline.

    .venv/bin/python benchmarks/regression.py
    .venv/bin/python benchmarks/regression.py --write-baseline

Trains a small `cnn` on the bundled sample with three fixed seeds. Speed is in images per
sgemm-GFLOP: images per second, divided by the machine's sgemm rate measured just before. It is the
median of all epochs except the first of each run, which compiles. Accuracy is the mean on the
sample's test images. Exits with 1 and a message if either is below the baseline by more than its
tolerance; with 2 if there is no baseline, or one with different settings. Run it on an otherwise
idle machine.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import harness

from thumbnet import InputError, JobError, Recipe, ThumbnetError, load_cifar10, train
from thumbnet.atomic import write_json
from thumbnet.training.progress import SilentDisplay

BASELINE = harness.RESULTS / "regression_baseline.json"
SETTINGS = {"epochs": 3, "batch_size": 250, "validation": 0, "model.widths": [16, 32, 64]}
SEEDS = (0, 1, 2)
# Fraction of the baseline's speed: load on a shared machine affects sgemm and training differently.
SLOWER_BY = 0.15
# Absolute: a few standard deviations of the mean accuracy of three seeds.
WORSE_BY = 0.03


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write-baseline", action="store_true")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    arguments = parser.parse_args()
    try:
        if arguments.write_baseline:
            write_json(arguments.baseline, measure() | {"provenance": harness.provenance()})
            return 0
        baseline = read_baseline(arguments.baseline)
        found = measure()
        print(describe(found, baseline))
        require_no_worse(found, baseline)
    except ThumbnetError as error:
        print(f"regression: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def read_baseline(path: Path) -> dict[str, Any]:
    """Read the figures to compare with.

    Raises:
        InputError: there is no baseline, or its settings differ.
    """
    try:
        baseline: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a valid baseline ({error}); write one with --write-baseline"
        ) from error
    if baseline.get("settings") != SETTINGS or baseline.get("seeds") != list(SEEDS):
        raise InputError(f"{path} has different settings; write a new one with --write-baseline")
    return baseline


def measure() -> dict[str, Any]:
    """Train with every seed, and return the figures of a baseline."""
    dataset = load_cifar10(source="sample")
    speeds: list[float] = []
    accuracies: list[float] = []
    for seed in SEEDS:
        recipe = Recipe.read("cnn").override(SETTINGS | {"seed": seed})
        with tempfile.TemporaryDirectory() as directory:
            run = train(recipe, dataset, Path(directory) / "run", display=SilentDisplay())
            metrics, history = run.metrics(), run.history()
        _, of_epochs = history.series("images_per_second")
        speeds += [speed / metrics.sgemm_gflops for speed in of_epochs[1:]]
        accuracies.append(metrics.accuracy)
    return {
        "settings": SETTINGS,
        "seeds": list(SEEDS),
        "images_per_sgemm_gflop": statistics.median(speeds),
        "accuracy": statistics.mean(accuracies),
    }


def describe(found: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Speed and accuracy, compared with the baseline."""
    speed, accuracy = found["images_per_sgemm_gflop"], found["accuracy"]
    return (
        f"{speed:.2f} images per sgemm-GFLOP, {speed / baseline['images_per_sgemm_gflop']:.2f} "
        f"times the baseline; accuracy {accuracy:.3f}, baseline {baseline['accuracy']:.3f}"
    )


def require_no_worse(found: dict[str, Any], baseline: dict[str, Any]) -> None:
    """Compare with the baseline.

    Raises:
        JobError: speed or accuracy is below it by more than the tolerance.
    """
    ratio = found["images_per_sgemm_gflop"] / baseline["images_per_sgemm_gflop"]
    if ratio < 1 - SLOWER_BY:
        raise JobError(
            f"training has {ratio:.0%} of the baseline's speed, less than {1 - SLOWER_BY:.0%}; "
            "repeat it on an idle machine, then find out what made it slower"
        )
    lost = baseline["accuracy"] - found["accuracy"]
    if lost > WORSE_BY:
        raise JobError(
            f"accuracy is {found['accuracy']:.1%}, {100 * lost:.1f} points below the baseline; "
            "find out what changed in the recipe, batches, model or optimizer"
        )


if __name__ == "__main__":
    sys.exit(main())
