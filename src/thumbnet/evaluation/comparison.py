"""Comparison of two runs on the same images. Pure functions of `Predictions`."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from thumbnet.data.dataset import Int64Array
from thumbnet.errors import InputError
from thumbnet.evaluation.intervals import Interval, paired_differences
from thumbnet.evaluation.predictions import Predictions

SIGNIFICANT = 0.05
"""A p-value below this counts as a difference."""


@dataclass(frozen=True, eq=False)
class PairComparison:
    """The comparison of two runs.

    Attributes:
        first, second: names of the runs.
        only_first: positions (not ids) of the images that only the first run classifies correctly.
        only_second: positions of the images that only the second run classifies correctly.
        both_right, both_wrong: numbers of images.
        p_value: p-value of McNemar's exact test, with the null hypothesis of equal accuracy.
        accuracy_gain, macro_f1_gain: value of the first run minus that of the second, each with
            its 95% CI.
    """

    first: str
    second: str
    only_first: Int64Array
    only_second: Int64Array
    both_right: int
    both_wrong: int
    p_value: float
    accuracy_gain: float
    accuracy_gain_interval: Interval
    macro_f1_gain: float
    macro_f1_gain_interval: Interval

    def __str__(self) -> str:
        wins = [(self.first, len(self.only_first)), (self.second, len(self.only_second))]
        better = max(wins, key=lambda win: win[1])[0]
        significant = self.p_value < SIGNIFICANT
        verdict = f"{better} is better" if significant else "no significant difference"
        probability = "p < 0.001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        return (
            f"{self.first} vs {self.second}: {verdict} (McNemar's test, {probability}); both "
            f"correct {self.both_right:,}, both wrong {self.both_wrong:,}, only {self.first} "
            f"correct {len(self.only_first):,}, only {self.second} correct "
            f"{len(self.only_second):,}; difference {self.first} - {self.second} in points (95% "
            f"CI): accuracy {_gain(self.accuracy_gain, self.accuracy_gain_interval)}, macro F1 "
            f"{_gain(self.macro_f1_gain, self.macro_f1_gain_interval)}"
        )

    def __repr__(self) -> str:
        return f"<{self}>"

    def _repr_html_(self) -> str:
        from thumbnet.notebook import comparison_html

        return comparison_html(self)


def _gain(gain: float, interval: Interval) -> str:
    return f"{100 * gain:+.1f} ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"


def compare_pair(
    first_name: str, first: Predictions, second_name: str, second: Predictions
) -> PairComparison:
    """Compare two sets of predictions for the same images.

    McNemar's exact test: of the images that only one run classifies correctly, the fraction of the
    first run is compared with one half in a binomial test (McNemar 1947; Dietterich 1998).

    Raises:
        InputError: the predictions are for different images, or there are none.
    """
    if not (np.array_equal(first.ids, second.ids) and np.array_equal(first.labels, second.labels)):
        raise InputError(
            f"{first_name} and {second_name} were tested on different images "
            f"({len(first)} and {len(second)}); compare runs of the same dataset"
        )
    if len(first) == 0:
        raise InputError(f"{first_name} and {second_name} have no predictions to compare")
    only_first = np.flatnonzero(first.correct & ~second.correct)
    only_second = np.flatnonzero(~first.correct & second.correct)
    discordant = len(only_first) + len(only_second)
    p_value = binomtest(len(only_first), discordant).pvalue if discordant else 1.0
    of_accuracy, of_f1 = paired_differences(
        first.labels, first.predicted, second.predicted, len(first.class_names)
    )
    return PairComparison(
        first=first_name,
        second=second_name,
        only_first=only_first,
        only_second=only_second,
        both_right=int((first.correct & second.correct).sum()),
        both_wrong=int((~first.correct & ~second.correct).sum()),
        p_value=float(p_value),
        accuracy_gain=(len(only_first) - len(only_second)) / len(first),
        accuracy_gain_interval=of_accuracy,
        macro_f1_gain=_macro_f1(first) - _macro_f1(second),
        macro_f1_gain_interval=of_f1,
    )


def _macro_f1(predictions: Predictions) -> float:
    labels = predictions.labels
    with_images = np.unique(labels)
    scores = f1_score(
        labels, predictions.predicted, labels=with_images, average="macro", zero_division=0
    )
    return float(scores)
