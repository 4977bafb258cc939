"""How far a figure may be off by the choice of test images. Pure functions of counts.

A bootstrap over images, for a figure that depends on the confusion matrix alone, is a multinomial
draw of that matrix: the same distribution, without touching ten thousand images a thousand times.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from thumbnet.data.dataset import Int64Array

RESAMPLES = 1_000
_SEED = 0
_TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A 95% interval."""

    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval | None:
    """Wilson's score interval of a share; None where nothing was tried."""
    if trials == 0:
        return None
    found = binomtest(successes, trials).proportion_ci(method="wilson")
    return Interval(float(found.low), float(found.high))


def bootstrap_f1(confusion: Int64Array) -> tuple[Interval, tuple[Interval | None, ...]]:
    """Percentile bootstrap intervals of macro F1 and of the F1 of each class.

    Args:
        confusion: int64 array of shape (classes, classes); rows are true, columns predicted.

    Returns:
        The interval of the mean over classes, then one for each class; None for a class of which
        there is no image.
    """
    true, predicted = np.nonzero(confusion)
    draws = _draw(confusion[true, predicted])
    scores = _f1(draws, true, predicted, len(confusion))
    present = confusion.sum(axis=1) > 0
    classes = (
        _interval(column) if known else None
        for column, known in zip(scores.T, present, strict=True)
    )
    return _interval(scores.mean(axis=1)), tuple(classes)


def paired_differences(
    labels: Int64Array, first: Int64Array, second: Int64Array, classes: int
) -> tuple[Interval, Interval]:
    """Paired bootstrap of what the first run is ahead of the second.

    Each resample of images is the same for both runs.

    Args:
        labels: int64 array of shape (n,), the true classes.
        first: int64 array of shape (n,), the classes that the first run predicts.
        second: the same of the second.
        classes: how many there are.

    Returns:
        Intervals of the difference in accuracy and of that in macro F1.
    """
    cells, counts = np.unique(np.stack([labels, first, second]), axis=1, return_counts=True)
    draws = _draw(counts)
    true, one, two = cells
    gain = (one == true).astype(np.int64) - (two == true)
    accuracy = draws @ gain / len(labels)
    f1 = [_f1(draws, true, answers, classes).mean(axis=1) for answers in (one, two)]
    return _interval(accuracy), _interval(f1[0] - f1[1])


def _draw(counts: Int64Array) -> Int64Array:
    """Resamples of so many images as there are, int64 of shape (RESAMPLES, cells)."""
    total = counts.sum()
    drawn: Int64Array = np.random.default_rng(_SEED).multinomial(total, counts / total, RESAMPLES)
    return drawn


def _f1(
    draws: Int64Array, true: Int64Array, predicted: Int64Array, classes: int
) -> npt.NDArray[np.float64]:
    """F1 of each class in each resample, float64 of shape (resamples, classes); 0 for 0/0."""
    weights = draws.astype(np.float64)
    rows, columns = np.eye(classes)[true], np.eye(classes)[predicted]
    right = weights @ (rows * columns)
    either = weights @ (rows + columns)
    scores: npt.NDArray[np.float64] = 2 * right / np.maximum(either, 1)
    return scores


def _interval(values: npt.NDArray[np.float64]) -> Interval:
    low, high = np.quantile(values, _TAILS)
    return Interval(float(low), float(high))
