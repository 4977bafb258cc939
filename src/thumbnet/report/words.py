"""The sentences of the report, and the formatting of numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from thumbnet.evaluation.calibration import expected_calibration_error
from thumbnet.evaluation.comparison import SIGNIFICANT, PairComparison
from thumbnet.evaluation.intervals import Interval
from thumbnet.report.result import Result

if TYPE_CHECKING:
    from thumbnet.report.build import Pair


def percent(fraction: float) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * fraction:.1f}%"


def whole(number: float) -> str:
    """A number without decimals, with thousands separators."""
    return f"{number:,.0f}"


def interval(result: Result) -> str:
    """The 95% confidence interval of the accuracy."""
    evaluation = result.evaluation
    return f"{100 * evaluation.accuracy_low:.1f}–{100 * evaluation.accuracy_high:.1f}%"


def macro_interval(result: Result) -> str:
    """The 95% confidence interval of macro F1."""
    evaluation = result.evaluation
    return f"{evaluation.macro_f1_low:.3f}–{evaluation.macro_f1_high:.3f}"


def gain(value: float, interval: Interval) -> str:
    """A difference in points with its interval."""
    ends = (value, interval.low, interval.high)
    middle, low, high = (_signed(100 * one, "+.1f") for one in ends)
    return f"{middle} ({low} to {high})"


def _signed(number: float, form: str) -> str:
    """A number with a true minus sign, and 0 without one."""
    text = format(number, form)
    zero = float(text) == 0
    return text.replace("-", "" if zero else "\N{MINUS SIGN}")


def temperature_sentence(result: Result) -> str:
    """The effect of temperature scaling on mean confidence and ECE."""
    if result.uncalibrated:
        return f"The confidence is uncalibrated: {result.uncalibrated}."
    images = result.metrics.calibration.validation_images
    word = "lowers" if result.temperature > 1 else "raises"
    mean = percent(float(result.calibrated.confidence.mean(dtype=np.float64)))
    before, after = (
        f"{expected_calibration_error(one.confidence, one.correct):.3f}"
        for one in (result.predictions, result.calibrated)
    )
    change = f"changes the ECE from {before} to {after}"
    effect = change if before != after else f"leaves the ECE at {before}"
    helped = " It does not help on the test images." if float(after) > float(before) else ""
    return (
        f"Temperature scaling with T = {result.temperature:.3f}, fitted on {images:,} validation "
        f"images, {word} the mean confidence to {mean} and {effect}.{helped}"
    )


def robustness_sentence(result: Result) -> str:
    """Accuracy on corrupted images; empty if it was not measured."""
    found = result.robustness
    if found is None or found.corruptions is None or found.clean_accuracy is None:
        return ""
    corruptions = found.corruptions
    worst, accuracies = min(corruptions.accuracy.items(), key=lambda item: item[1][-1])
    return (
        f"The accuracy of {result.name} is {percent(found.clean_accuracy)} on {found.images:,} "
        f"clean images and {percent(corruptions.mean_accuracy)} on their corrupted copies (mean "
        f"corruption error {percent(corruptions.mean_corruption_error)}); it is lowest with "
        f"{worst.replace('_', ' ')}: {percent(accuracies[-1])} at severity 5."
    )


def p_value(p: float) -> str:
    """A p-value as `p = …` or `p < 0.001`, with non-breaking spaces."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def duration(seconds: float) -> str:
    """A duration, in the two largest units."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def file_size(size: float) -> str:
    """Bytes in kB or MB."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def enumerate_words(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def data_name(result: Result) -> str:
    """The usual spelling of the dataset's name."""
    name = result.metrics.data_name
    return {"cifar10": "CIFAR-10", "cifar10-sample": "a sample of CIFAR-10"}.get(name, name)


def heading(ranked: Sequence[Result], pairs: Sequence["Pair"]) -> str:
    """The conclusion of the report in one line.

    Args:
        ranked: the results, the most accurate first.
        pairs: all pairs of them.
    """
    best, data = ranked[0], data_name(ranked[0])
    if len(ranked) == 1:
        return f"{best.name} on {data}"
    second = ranked[1]
    pair = next(pair for pair in pairs if {best, second} == {pair.first, pair.second})
    if pair.comparison.p_value >= SIGNIFICANT:
        equal = f"{best.name} and {second.name} do equally well on {data}"
        return equal if len(ranked) == 2 else f"{equal}, the best of {len(ranked)} runs"
    if len(ranked) > 2:
        return f"{best.name} is the best of {len(ranked)} runs on {data}"
    points = 100 * (best.evaluation.accuracy - second.evaluation.accuracy)
    return f"{best.name} beats {second.name} by {points:.1f} points on {data}"


def headline(ranked: Sequence[Result]) -> str:
    """The accuracy of each run, the best first, and the accuracy of guessing."""
    images = ranked[0].evaluation.test_images
    each = [f"{r.name} {percent(r.evaluation.accuracy)} (95% CI {interval(r)})" for r in ranked[:3]]
    rest = f", and {len(ranked) - 3} more below" if len(ranked) > 3 else ""
    chance = 1 / len(ranked[0].evaluation.classes)
    largest, fraction = largest_class(ranked[0])
    guess = f"Chance is {percent(chance)}"
    if fraction > chance + 0.001:
        guess += (
            f"; always predicting {largest}, the largest class, is right on {percent(fraction)}"
        )
    weak = "".join(
        f" {result.name} is barely better than that."
        for result in ranked
        if result.evaluation.accuracy_low <= fraction
    )
    return (
        f"Test accuracy on {images:,} images: {', '.join(each)}{rest}. {guess}.{weak}"
        f"{_duplicates(ranked)}"
    )


def _duplicates(results: Sequence[Result]) -> str:
    """The accuracy without the test images that are also training or validation images."""
    first = results[0].metrics
    if not first.test_duplicates:
        return ""
    rates = [(r.name, r.metrics.accuracy_without_duplicates) for r in results]
    each = [f"{name} {percent(rate)}" for name, rate in rates if rate is not None]
    rest = f"without them: {enumerate_words(each)}" if each else "no other test images remain"
    return (
        f" {first.test_duplicates:,} of the {first.test_images:,} test images are also training or "
        f"validation images, pixel by pixel; {rest}."
    )


def largest_class(result: Result) -> tuple[str, float]:
    """The class with the most test images, and their fraction of all."""
    largest = max(result.evaluation.classes, key=lambda scores: scores.support)
    return largest.name, largest.support / result.evaluation.test_images


def lead(pair: PairComparison, first: Result, second: Result) -> str:
    """Whether one of two runs is significantly better."""
    better, other, sign = first, second, 1
    if first.evaluation.accuracy < second.evaluation.accuracy:
        better, other, sign = second, first, -1
    ends = sorted((sign * pair.accuracy_gain_interval.low, sign * pair.accuracy_gain_interval.high))
    low, high = (_signed(100 * end, ".1f") for end in ends)
    points = f"{100 * sign * pair.accuracy_gain:.1f} points ({low} to {high})"
    test = f"McNemar's test, {p_value(pair.p_value)}"
    if pair.p_value < SIGNIFICANT:
        return f"{better.name} leads {other.name} by {points}; {test}."
    return (
        f"{better.name} and {other.name} do equally well: a difference of {points} is within "
        f"chance; {test}."
    )


def label_smoothing(results: Sequence[Result]) -> str:
    """Why the loss is not the log loss; empty if it is."""
    smoothed = [result for result in results if result.recipe.loss.label_smoothing]
    if not smoothed:
        return ""
    each = [f"{result.name} {result.recipe.loss.label_smoothing:g}" for result in smoothed]
    values = {result.recipe.loss.label_smoothing for result in results}
    how = f"{values.pop():g}" if len(values) == 1 else enumerate_words(each)
    return f"The loss includes label smoothing ({how}), the log loss in the table does not."


def top_confusions(result: Result, count: int) -> list[tuple[str, str, int, int]]:
    """The most frequent confusions: true class, predicted class, count, images of the class."""
    mistakes = result.evaluation.confusion_matrix
    names, support = result.predictions.class_names, mistakes.sum(axis=1)
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
    cells = (np.unravel_index(i, mistakes.shape) for i in order)
    return [
        (names[true], names[predicted], int(mistakes[true, predicted]), int(support[true]))
        for true, predicted in cells
        if mistakes[true, predicted]
    ]


def class_sentence(result: Result) -> str:
    """The classes with the highest and the lowest F1."""
    known = [(one.f1, one.name) for one in result.evaluation.classes if one.f1 is not None]
    # Ties go to the first class.
    best, best_name = max(known, key=lambda one: one[0])
    worst, worst_name = min(reversed(known), key=lambda one: one[0])
    return (
        f"Best class: {best_name} (F1 {best:.3f}); worst: {worst_name} ({worst:.3f}); macro F1 "
        f"{result.evaluation.macro_f1:.3f}."
    )


def confusion_sentence(result: Result) -> str:
    """The most common mistake of the run."""
    found = top_confusions(result, 1)
    if not found:
        return f"{result.name} makes no mistakes."
    true, predicted, times, images = found[0]
    return (
        f"{result.name}'s most common mistake: {true} predicted as {predicted}, {times:,} of "
        f"{images:,} images."
    )


def confidence_sentence(result: Result) -> str:
    """Whether the run is over- or underconfident, with mean confidence and accuracy."""
    gap = result.overconfidence
    figures = (
        f"mean confidence {percent(result.evaluation.accuracy + gap)}, accuracy "
        f"{percent(result.evaluation.accuracy)}"
    )
    if abs(gap) < 0.01:
        return (
            f"Before temperature scaling, the confidence of {result.name} matches its accuracy on "
            f"average: {figures}."
        )
    word = "overconfident" if gap > 0 else "underconfident"
    return f"Before temperature scaling, {result.name} is {word}: {figures}."


def learning_description(results: Sequence[Result], metric: str) -> str:
    """Text alternative of the learning curve."""
    sentences = []
    for result in results:
        for column, part in ((metric, "training"), (f"validation_{metric}", "validation")):
            _, values = result.history.series(column)
            if values:
                first, last = f"{values[0]:.3g}", f"{values[-1]:.3g}"
                sentences.append(
                    f"{result.name}, {part}: from {first} to {last} in {len(values)} epochs."
                )
    return f"{metric.replace('_', ' ')} by epoch. {' '.join(sentences)}"
