"""The sentences of the report, and the formatting of numbers."""

from collections.abc import Sequence

import numpy as np

from thumbnet.evaluation.calibration import expected_calibration_error
from thumbnet.evaluation.comparison import SIGNIFICANT, PairComparison
from thumbnet.evaluation.intervals import Interval
from thumbnet.report.result import Result


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
    """A difference in points, with its confidence interval."""
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * value:+.1f} ({low:+.1f} to {high:+.1f})"


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


def headline(ranked: Sequence[Result]) -> str:
    """The accuracy of each run, the best first."""
    best, *others = ranked
    first = (
        f"{best.name} has an accuracy of {percent(best.evaluation.accuracy)} on "
        f"{best.evaluation.test_images:,} test images (95% CI {interval(best)})"
    )
    rest = [f"{r.name} of {percent(r.evaluation.accuracy)} ({interval(r)})" for r in others]
    return ", ".join([first, *rest]) + "."


def lead(pair: PairComparison, first: Result, second: Result) -> str:
    """Whether the accuracies of two runs differ significantly."""
    better, other = first, second
    if first.evaluation.accuracy < second.evaluation.accuracy:
        better, other = second, first
    points = 100 * (better.evaluation.accuracy - other.evaluation.accuracy)
    verdict = "is significant" if pair.p_value < SIGNIFICANT else "is not significant"
    return (
        f"The lead of {better.name} over {other.name}, {points:.1f} points, {verdict} "
        f"(McNemar's test, {p_value(pair.p_value)})."
    )


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
    """The most frequent confusion."""
    found = top_confusions(result, 1)
    if not found:
        return f"{result.name} makes no mistakes."
    true, predicted, times, images = found[0]
    return (
        f"The most frequent mistake of {result.name} is {true} predicted as {predicted}: "
        f"{times:,} of {images:,} images."
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
