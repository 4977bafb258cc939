"""How often the 95% intervals of macro F1 cover the true value, by simulation.

    .venv/bin/python benchmarks/interval_coverage.py --out benchmarks/results/interval_coverage.md

For each row, many test sets are drawn from a classifier with known confusion probabilities, and
hence a known macro F1. The class counts are fixed, or vary as in a random sample. Thumbnet's
interval is compared with two bootstraps of the same confusion matrices: percentile, which Thumbnet
used before, and bias-corrected and accelerated (BCa, Efron 1987).
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from harness import document, markdown_table
from scipy.stats import norm

from thumbnet.evaluation.intervals import f1_intervals, paired_differences

RESAMPLES = 1_000
# Images of each class, and the mean recall.
ALONE: tuple[tuple[tuple[int, ...], float], ...] = (
    ((2,) * 5, 0.6),
    ((2,) * 5, 0.9),
    ((2,) * 10, 0.8),
    ((3,) * 20, 0.7),
    ((20, 20), 0.95),
    ((90, 10), 0.9),
    ((10,) * 10, 0.6),
    ((10,) * 10, 0.85),
    ((10,) * 10, 0.98),
    ((400, 50, 20, 5, 2), 0.8),
    ((100,) * 10, 0.85),
    ((10,) * 100, 0.6),
)
# Images of each class, the mean recall of two runs, and how often the second copies the first.
PAIRED: tuple[tuple[tuple[int, ...], float, float, float], ...] = (
    ((2,) * 5, 0.6, 0.6, 0.5),
    ((2,) * 10, 0.8, 0.8, 0.8),
    ((10,) * 10, 0.9, 0.9, 0.97),
    ((10,) * 10, 0.95, 0.9, 0.5),
    ((5,) * 20, 0.7, 0.7, 0.7),
    ((100,) * 10, 0.85, 0.84, 0.7),
)

Matrix = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Bounds = tuple[float, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1_000, help="test sets of each row")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/interval_coverage.md"))
    arguments = parser.parse_args()
    alone = [
        row_of_one(counts, recall, fixed, arguments.draws)
        for counts, recall in ALONE
        for fixed in (True, False)
    ]
    paired = [row_of_two(*case, arguments.draws) for case in PAIRED]
    methods = ("percentile bootstrap", "BCa bootstrap", "Thumbnet")
    page = document(
        "How often 95% intervals cover the true value",
        f"{arguments.draws:,} simulated test sets per row. Each cell: coverage, and in parentheses "
        "the mean width. With random counts, a test set may lack a class whose F1 is part of the "
        "true value, which no interval can account for.",
        "## Macro F1 of one run",
        markdown_table(["images of each class", "which", "mean recall", *methods], alone),
        "## One run's lead over another on the same images",
        markdown_table(
            [
                "images of each class",
                "mean recalls",
                "macro F1, percentile bootstrap",
                "macro F1, Thumbnet",
                "accuracy, percentile bootstrap",
                "accuracy, Thumbnet",
            ],
            paired,
        ),
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page, encoding="utf-8")
    print(page)


def row_of_one(counts: Sequence[int], recall: float, fixed: bool, draws: int) -> list[str]:
    """Coverage of each interval of macro F1."""
    random = np.random.default_rng(0)
    methods: tuple[Callable[[Counts], Bounds], ...] = (
        lambda confusion: _quantiles(_resampled(confusion, random), (0.025, 0.975)),
        lambda confusion: _bca(confusion, random),
        lambda confusion: _thumbnet(confusion),
    )
    found: list[list[Bounds]] = [[] for _ in methods]
    truths, total = [], sum(counts)
    for _ in range(draws):
        rates = confusion_rates(len(counts), recall, random)
        truths.append(macro_f1(np.array(counts)[:, None] * rates))
        drawn = counts if fixed else random.multinomial(total, np.array(counts) / total)
        confusion = np.stack([random.multinomial(*row) for row in zip(drawn, rates, strict=True)])
        for bounds, method in zip(found, methods, strict=True):
            bounds.append(method(confusion))
    cells = [coverage(each, truths) for each in found]
    return [describe(counts), "fixed" if fixed else "random", f"{recall:.2f}", *cells]


def row_of_two(
    counts: Sequence[int], recall: float, other: float, agreement: float, draws: int
) -> list[str]:
    """Coverage of the intervals of the lead in macro F1 and in accuracy."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(counts)), counts)
    found: list[list[Bounds]] = [[] for _ in range(4)]
    f1_truths, accuracy_truths = [], []
    for _ in range(draws):
        one = confusion_rates(len(counts), recall, random)
        apart = confusion_rates(len(counts), other, random)
        two = agreement * one + (1 - agreement) * apart
        leads = [np.array(counts)[:, None] * rates for rates in (one, two)]
        f1_truths.append(macro_f1(leads[0]) - macro_f1(leads[1]))
        accuracy_truths.append(float(np.trace(leads[0] - leads[1])) / len(labels))
        first = _answers(labels, one, random)
        copied = random.random(len(labels)) < agreement
        second = np.where(copied, first, _answers(labels, apart, random))
        accuracy, f1 = paired_differences(labels, first, second, len(counts))
        bootstrap_f1, bootstrap_accuracy = _paired_bootstrap(labels, first, second, random)
        every = (bootstrap_f1, (f1.low, f1.high), bootstrap_accuracy, (accuracy.low, accuracy.high))
        for bounds, one_interval in zip(found, every, strict=True):
            bounds.append(one_interval)
    truths = (f1_truths, f1_truths, accuracy_truths, accuracy_truths)
    cells = [coverage(*each) for each in zip(found, truths, strict=True)]
    return [describe(counts), f"{recall:.2f}, {other:.2f}", *cells]


def confusion_rates(classes: int, recall: float, random: np.random.Generator) -> Matrix:
    """Probabilities of each prediction given each class; mistakes fall on a few classes."""
    recalls = np.clip(1 - (1 - recall) * random.uniform(0.5, 1.5, classes), 0.02, 1)
    rates = np.zeros((classes, classes))
    for true in range(classes):
        others = np.arange(classes) != true
        rates[true, others] = (1 - recalls[true]) * random.dirichlet(np.full(classes - 1, 0.3))
        rates[true, true] = recalls[true]
    return rates


def macro_f1(confusion: npt.NDArray[np.floating] | Counts) -> float:
    right = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1)
    scores = 2 * right / np.maximum(either, 1e-12)
    return float(scores[confusion.sum(axis=1) > 0].mean())


def coverage(bounds: Sequence[Bounds], truths: Sequence[float]) -> str:
    """How often the interval contains the true value, and its mean width."""
    low, high = np.array(bounds).T
    covered = ((low <= truths) & (truths <= high)).mean()
    return f"{covered:.1%} ({(high - low).mean():.3f})"


def describe(counts: Sequence[int]) -> str:
    if len(set(counts)) == 1:
        return f"{len(counts)} × {counts[0]}"
    return ", ".join(map(str, counts))


def _answers(labels: Counts, rates: Matrix, random: np.random.Generator) -> Counts:
    drawn = random.random(len(labels))[:, None] > rates.cumsum(axis=1)[labels]
    answers: Counts = np.minimum(drawn.sum(axis=1), len(rates) - 1)
    return answers


def _thumbnet(confusion: Counts) -> Bounds:
    interval, _ = f1_intervals(confusion)
    return interval.low, interval.high


def _resampled(confusion: Counts, random: np.random.Generator) -> Matrix:
    """Macro F1 of bootstrap samples, each a multinomial draw of the confusion matrix."""
    true, predicted = np.nonzero(confusion)
    counts = confusion[true, predicted]
    draws = random.multinomial(counts.sum(), counts / counts.sum(), RESAMPLES)
    return _f1_of_draws(draws, true, predicted, len(confusion))


def _f1_of_draws(draws: Counts, true: Counts, predicted: Counts, classes: int) -> Matrix:
    rows, columns = np.eye(classes)[true], np.eye(classes)[predicted]
    right, either = draws @ (rows * columns), draws @ (rows + columns)
    present = np.bincount(true, minlength=classes) > 0
    scores: Matrix = (2 * right / np.maximum(either, 1))[:, present].mean(axis=1)
    return scores


def _bca(confusion: Counts, random: np.random.Generator) -> Bounds:
    resampled, score = _resampled(confusion, random), macro_f1(confusion)
    below = ((resampled < score).mean() + (resampled <= score).mean()) / 2
    shift = norm.ppf(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    true, predicted = np.nonzero(confusion)
    counts = confusion[true, predicted]
    left_out = []
    for cell in zip(true, predicted, strict=True):
        without = confusion.copy()
        without[cell] -= 1
        left_out.append(macro_f1(without))
    gaps = np.average(left_out, weights=counts) - np.array(left_out)
    spread = 6 * float(counts @ gaps**2) ** 1.5
    acceleration = float(counts @ gaps**3) / spread if spread else 0.0
    tails = shift + norm.ppf((0.025, 0.975))
    levels = norm.cdf(shift + tails / (1 - acceleration * tails))
    return _quantiles(resampled, (float(levels[0]), float(levels[1])))


def _paired_bootstrap(
    labels: Counts, first: Counts, second: Counts, random: np.random.Generator
) -> tuple[Bounds, Bounds]:
    cells, counts = np.unique(np.stack([labels, first, second]), axis=1, return_counts=True)
    true, one, two = cells
    draws = random.multinomial(len(labels), counts / len(labels), RESAMPLES)
    classes = int(labels.max()) + 1
    of_first, of_second = (_f1_of_draws(draws, true, answers, classes) for answers in (one, two))
    gain = draws @ ((one == true).astype(int) - (two == true)) / len(labels)
    tails = (0.025, 0.975)
    return _quantiles(of_first - of_second, tails), _quantiles(gain, tails)


def _quantiles(values: Matrix, levels: Bounds) -> Bounds:
    low, high = np.quantile(values, levels)
    return float(low), float(high)


if __name__ == "__main__":
    main()
