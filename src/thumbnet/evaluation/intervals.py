"""Confidence intervals of metrics over the sampling of test images. Pure functions of counts.

Everything here is in closed form, so that the same predictions always give the same interval.
`benchmarks/interval_coverage.py` simulates how often each interval covers the true value.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import Int64Array

Float64Array = npt.NDArray[np.float64]

_Z = 1.959964  # the 97.5% quantile of the normal distribution


@dataclass(frozen=True)
class Interval:
    """A 95% confidence interval."""

    low: float
    high: float


def wilson(successes: int, trials: int) -> Interval | None:
    """Wilson's score interval of a proportion (Wilson 1927); None without trials."""
    return _score_interval(successes, trials) if trials else None


def f1_intervals(confusion: Int64Array) -> tuple[Interval, tuple[Interval | None, ...]]:
    """Intervals of macro F1 and of the F1 of each class.

    The F1 of a class is 2J / (1 + J), where J = TP / (TP + FP + FN) is a proportion: Wilson's
    interval of J, transformed (Lam, Gopal and Qian 2023, arXiv 2309.14621, "Wilson indirect").

    Macro F1 is not a proportion. The jackknife gives its variance and bias (Efron and Tibshirani
    1993, chapter 11). The variance gives the effective number of images, for which a proportion
    would have the same variance, and Wilson's interval for that number (Korn and Graubard 1998) is
    centred on the estimate minus half of the bias: the bias applies fully if the class counts of
    test sets are random, and hardly at all if they are fixed. Bootstrap intervals are too narrow
    here.

    Args:
        confusion: int64 array of shape (classes, classes); rows are true, columns predicted; at
            least one image.

    Returns:
        The interval of the mean over the classes that have images, then one for each class; None
        for a class without images.
    """
    support = confusion.sum(axis=1)
    true, predicted = np.nonzero(confusion)
    counts = confusion[true, predicted]
    score, changes = _leave_one_out(true, predicted, counts, len(confusion))
    bias, variance = _jackknife(changes, counts)
    center = min(max(score - bias / 2, 0.0), 1.0)
    certain = variance == 0 or center in (0, 1)
    images = _effective_images(support) if certain else center * (1 - center) / variance
    around = _score_interval(center * images, images)
    macro = Interval(min(around.low, score), max(around.high, score))

    right = np.diag(confusion)
    involved = support + confusion.sum(axis=0) - right
    classes: list[Interval | None] = []
    for hits, cases, images_of_class in zip(right, involved, support, strict=True):
        jaccard = wilson(int(hits), int(cases)) if images_of_class else None
        classes.append(jaccard and Interval(_f1_of(jaccard.low), _f1_of(jaccard.high)))
    return macro, tuple(classes)


def paired_differences(
    labels: Int64Array, first: Int64Array, second: Int64Array, classes: int
) -> tuple[Interval, Interval]:
    """Intervals of the difference between two runs on the same images.

    For accuracy, the interval of Bonett and Price (2012), which adds one image to each of the two
    counts of images that only one run classifies correctly. For macro F1, a normal interval with
    the variance of a paired jackknife over images, with the same two images added.

    Args:
        labels: int64 array of shape (n,), the true classes; at least one.
        first: int64 array of shape (n,), the classes predicted by the first run.
        second: the same for the second run.
        classes: number of classes.

    Returns:
        Intervals of the differences in accuracy and in macro F1.
    """
    total = len(labels)
    only_first = (int(((first == labels) & (second != labels)).sum()) + 1) / (total + 2)
    only_second = (int(((first != labels) & (second == labels)).sum()) + 1) / (total + 2)
    gain = only_first - only_second
    accuracy = _normal(gain, (only_first + only_second - gain**2) / (total + 2))

    cells, counts = np.unique(np.stack([labels, first, second]), axis=1, return_counts=True)
    true, one, two = cells
    score_of_first, changes_of_first = _leave_one_out(true, one, counts, classes)
    score_of_second, changes_of_second = _leave_one_out(true, two, counts, classes)
    _, variance = _jackknife(changes_of_first - changes_of_second, counts)
    added = 2 / (total * _effective_images(np.bincount(labels, minlength=classes)))
    return accuracy, _normal(score_of_first - score_of_second, variance + added)


def _leave_one_out(
    true: Int64Array, predicted: Int64Array, counts: Int64Array, classes: int
) -> tuple[float, Float64Array]:
    """Macro F1, and its change if one image of each cell of the confusion matrix is left out."""
    support = np.bincount(true, counts, classes)
    given = np.bincount(predicted, counts, classes)
    right = np.bincount(true, counts * (true == predicted), classes)
    wrong = support + given - 2 * right
    present = support > 0
    score = np.where(present, _f1(right, wrong), 0)
    one_right_less = np.where(present, _f1(np.maximum(right - 1, 0), wrong), 0) - score
    one_wrong_less = np.where(present, _f1(right, np.maximum(wrong - 1, 0)), 0) - score
    changes = np.where(
        true == predicted,
        one_right_less[true],
        one_wrong_less[true] + one_wrong_less[predicted],
    )
    return float(score.sum() / present.sum()), changes / present.sum()


def _jackknife(changes: Float64Array, counts: Int64Array) -> tuple[float, float]:
    """Jackknife bias and variance, from the change of leaving out an image of each cell."""
    total = int(counts.sum())
    mean = float(counts @ changes) / total
    variance = (total - 1) / total * float(counts @ (changes - mean) ** 2)
    return (total - 1) * mean, variance


def _effective_images(support: npt.NDArray[np.int64]) -> float:
    """The number of images of equally frequent classes that would give the same variance."""
    there = support[support > 0]
    return float(len(there) ** 2 / (1 / there).sum())


def _score_interval(successes: float, trials: float) -> Interval:
    """Wilson's interval for counts that need not be integers."""
    proportion = successes / trials
    center = (proportion + _Z**2 / (2 * trials)) / (1 + _Z**2 / trials)
    spread = math.sqrt(proportion * (1 - proportion) / trials + _Z**2 / (4 * trials**2))
    half = _Z * spread / (1 + _Z**2 / trials)
    # A bound of exactly 0 or 1 must not be rounded past the proportion.
    low = 0.0 if proportion == 0 else center - half
    high = 1.0 if proportion == 1 else center + half
    return Interval(low, high)


def _normal(center: float, variance: float) -> Interval:
    half = _Z * math.sqrt(variance)
    return Interval(max(center - half, -1.0), min(center + half, 1.0))


def _f1(right: npt.NDArray[Any], wrong: npt.NDArray[Any]) -> Float64Array:
    """F1 from the true positives and the sum of false positives and negatives; 0 for 0/0."""
    scores: Float64Array = 2 * right / np.maximum(2 * right + wrong, 1)
    return scores


def _f1_of(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)
