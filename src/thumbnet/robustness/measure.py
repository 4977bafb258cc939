"""Measuring a run's accuracy on corrupted, transformed and attacked images."""

from collections.abc import Callable, Iterable
from functools import partial
from statistics import fmean

import numpy as np

from thumbnet.csv_files import write_table
from thumbnet.data.dataset import Int64Array, LabelledImages, UInt8Array
from thumbnet.engines import Engine, KerasEngine, in_batches, open_keras_engine
from thumbnet.evaluation.intervals import wilson
from thumbnet.figures import save_figure
from thumbnet.figures.trust import corruption_chart
from thumbnet.interpretation.differentiable import DifferentiableModel
from thumbnet.record import write_record
from thumbnet.robustness.attacks import PGD_STEPS, fgsm_accuracy, pgd_accuracy
from thumbnet.robustness.benchmarks import BenchmarkSet
from thumbnet.robustness.corruptions import BENCHMARK, EXTRA, LEFT_OUT, SEVERITIES, corrupt
from thumbnet.runs.records import (
    Attack,
    Benchmark,
    BenchmarkRow,
    Corruptions,
    MeasuredAccuracy,
    Robustness,
)
from thumbnet.runs.run import Run

IMAGES = 1_000
ATTACKED = 500
RADII = (2, 8)  # out of 255; 8 is customary for CIFAR-10
SHIFTS = (1, 2, 4)
SOURCE = (
    "constants for 32×32 images from make_cifar_c.py, github.com/hendrycks/robustness; independent "
    "code, hence CIFAR-10-C-style and not comparable with results on CIFAR-10-C"
)

Report = Callable[[str], None]
# Takes images and the number of the first one.
Change = Callable[[UInt8Array, int], UInt8Array]


def measure_robustness(
    run: Run, test: LabelledImages, report: Report, images: int = IMAGES, seed: int = 0
) -> Robustness:
    """Measure accuracy on corrupted, shifted and attacked test images, and write the results.

    Args:
        run: a finished run.
        test: the run's test images.
        report: called with progress messages.
        images: size of a random sample of them; 0 or more than the total to use all.
        seed: seed of the sample and the noise.

    Returns:
        The content of `robustness.json`.

    Raises:
        InputError: the run cannot be used.
        JobError: the Keras backend is not TensorFlow, or a file cannot be written.
    """
    engine = open_keras_engine(run)
    chosen = test if not 0 < images < len(test) else test.take(_draw(len(test), images, seed))
    attacked = chosen.take(np.arange(min(ATTACKED, len(chosen))))
    report(f"{run.name}: corruptions of {len(chosen):,} test images")
    accuracies = {
        name: [
            _accuracy(engine, chosen, partial(_corrupted, name, severity, seed))
            for severity in SEVERITIES
        ]
        for name in (*BENCHMARK, *EXTRA)
    }
    report(f"{run.name}: shifts, flips, and attacks on {len(attacked):,} images")
    clean = _accuracy(engine, chosen)
    mean = fmean(fmean(accuracies[name]) for name in BENCHMARK)
    return _write(
        run,
        Robustness(
            images=len(chosen),
            seed=seed,
            clean_accuracy=clean,
            corruptions=Corruptions(
                style="CIFAR-10-C-style",
                source=SOURCE,
                left_out=LEFT_OUT,
                accuracy=accuracies,
                mean_accuracy=mean,
                # Not normalised by a baseline's error, unlike for ImageNet-C.
                mean_corruption_error=1 - mean,
            ),
            changes=_changes(engine, chosen),
            attacks=_attacks(engine, attacked, seed),
            benchmarks=before.benchmarks if (before := run.robustness()) else {},
        ),
    )


def measure_benchmark(run: Run, parts: Iterable[BenchmarkSet], report: Report) -> Robustness:
    """Measure accuracy on all images of published files, and write the results.

    Raises:
        InputError: the run cannot be used, or a file is not the published one.
    """
    engine = open_keras_engine(run)
    rows: dict[str, list[BenchmarkRow]] = {}
    for part in parts:
        report(f"{run.name}: {part.benchmark} {part.name} {part.severity or ''}".rstrip())
        right = round(_accuracy(engine, part.images) * len(part.images))
        rows.setdefault(part.benchmark, []).append(
            BenchmarkRow(
                name=part.name,
                severity=part.severity,
                checked=part.checked,
                **dict(_measured(right, len(part.images))),
            )
        )
    before = run.robustness() or Robustness()
    benchmarks = before.benchmarks | {name: _benchmark(name, each) for name, each in rows.items()}
    return _write(run, before.model_copy(update={"benchmarks": benchmarks}))


def _benchmark(name: str, rows: list[BenchmarkRow]) -> Benchmark:
    mean = fmean(row.accuracy for row in rows if row.accuracy is not None)
    error = 1 - mean if name == "CIFAR-10-C" else None
    return Benchmark(mean_accuracy=mean, mean_corruption_error=error, rows=rows)


def _draw(total: int, count: int, seed: int) -> Int64Array:
    return np.sort(np.random.default_rng(seed).choice(total, count, replace=False)).astype(np.int64)


def _accuracy(engine: Engine, part: LabelledImages, change: Change | None = None) -> float:
    """Accuracy on images after an optional change, computed in batches of limited size."""
    right = 0
    for some in in_batches(part.images):
        images = part.images[some]
        changed = images if change is None else change(images, some.start)
        right += int((engine.predict(changed).argmax(axis=1) == part.labels[some]).sum())
    return right / len(part)


def _changes(engine: Engine, part: LabelledImages) -> dict[str, float]:
    """Accuracy on mirrored and on shifted images (reflected border, mean of four directions)."""
    changes = {"mirrored": _accuracy(engine, part, lambda images, _: images[:, :, ::-1])}
    for pixels in SHIFTS:
        moves = ((-pixels, 0), (pixels, 0), (0, -pixels), (0, pixels))
        changes[f"shifted by {pixels}"] = fmean(
            _accuracy(engine, part, partial(_shifted, down, right)) for down, right in moves
        )
    return changes


def _corrupted(name: str, severity: int, seed: int, images: UInt8Array, first: int) -> UInt8Array:
    return corrupt(images, name, severity, seed, first)


def _shifted(down: int, right: int, images: UInt8Array, first: int) -> UInt8Array:
    """Images shifted by some pixels, with a reflected border."""
    height, width = images.shape[1:3]
    pixels = max(abs(down), abs(right))
    padding = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded = np.pad(images, padding, mode="reflect")
    top, left = pixels - down, pixels - right
    return padded[:, top : top + height, left : left + width]


def _attacks(engine: KerasEngine, part: LabelledImages, seed: int) -> list[Attack]:
    model = DifferentiableModel(engine.model)
    rows = []
    for radius in RADII:
        for name, accuracy in (
            ("FGSM", fgsm_accuracy(model, part, radius)),
            (f"PGD, {PGD_STEPS} steps", pgd_accuracy(model, part, radius, seed)),
        ):
            measured = _measured(round(accuracy * len(part)), len(part))
            rows.append(Attack(attack=name, radius=f"{radius}/255", **dict(measured)))
    return rows


def _measured(right: int, images: int) -> MeasuredAccuracy:
    interval = wilson(right, images)
    return MeasuredAccuracy(
        images=images,
        accuracy=right / images if images else None,
        accuracy_low=interval.low if interval else None,
        accuracy_high=interval.high if interval else None,
    )


def _write(run: Run, found: Robustness) -> Robustness:
    write_record(run.robustness_path, found)
    if found.corruptions is not None:
        rows = [
            {"corruption": name, "severity": severity, "accuracy": accuracy}
            for name, row in found.corruptions.accuracy.items()
            for severity, accuracy in enumerate(row, start=1)
        ]
        write_table(run.path / "robustness.csv", rows)
        chart = corruption_chart(found.corruptions.accuracy)
        save_figure(chart, run.figures_path / "robustness.svg")
    return found
