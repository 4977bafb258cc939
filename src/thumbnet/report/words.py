"""The report's sentences, and how it writes numbers."""

from collections.abc import Sequence

import numpy as np

from thumbnet.evaluation.calibration import expected_calibration_error
from thumbnet.evaluation.comparison import PairComparison
from thumbnet.evaluation.intervals import Interval
from thumbnet.report.result import Result

SIGNIFICANT = 0.05


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f}%"


def whole(number: float) -> str:
    """A number without decimals, in groups of three digits."""
    return f"{number:,.0f}"


def interval(result: Result) -> str:
    """The 95% interval of the accuracy."""
    evaluation = result.evaluation
    return f"{100 * evaluation.accuracy_low:.1f}–{100 * evaluation.accuracy_high:.1f}%"


def macro_interval(result: Result) -> str:
    """The 95% interval of macro F1."""
    evaluation = result.evaluation
    return f"{evaluation.macro_f1_low:.3f}–{evaluation.macro_f1_high:.3f}"


def gain(value: float, interval: Interval) -> str:
    """A difference in points with its interval."""
    low, high = 100 * interval.low, 100 * interval.high
    return f"{100 * value:+.1f} ({low:+.1f} to {high:+.1f})"


def temperature_sentence(result: Result) -> str:
    """What calibration does to the confidence and to its error, in words."""
    if result.uncalibrated:
        return f"The confidence is uncalibrated: {result.uncalibrated}."
    images = result.metrics.calibration.validation_images
    word = "lowers" if result.temperature > 1 else "raises"
    mean = percent(float(result.calibrated.confidence.mean(dtype=np.float64)))
    before, after = (
        f"{expected_calibration_error(one.confidence, one.correct):.3f}"
        for one in (result.predictions, result.calibrated)
    )
    change = f"from {before} to {after}" if before != after else f"at {before}"
    verb = "leaves" if before == after else "changes"
    helped = " On the test images it does not help." if float(after) > float(before) else ""
    return (
        f"Temperature scaling with T = {result.temperature:.3f}, fitted on {images:,} validation "
        f"images, {word} the mean confidence to {mean} and {verb} the calibration error (ECE) "
        f"{change}.{helped}"
    )


def robustness_sentence(result: Result) -> str:
    """How much of the accuracy is left on corrupted images; empty where it was not measured."""
    found = result.robustness
    if found is None or found.corruptions is None or found.clean_accuracy is None:
        return ""
    corruptions = found.corruptions
    worst, accuracies = min(corruptions.accuracy.items(), key=lambda item: item[1][-1])
    return (
        f"{result.name} is right on {percent(found.clean_accuracy)} of {found.images:,} clean "
        f"images and on {percent(corruptions.mean_accuracy)} of their corrupted copies, a mean "
        f"corruption error of {percent(corruptions.mean_corruption_error)}; worst under "
        f"{worst.replace('_', ' ')}, with {percent(accuracies[-1])} at severity 5."
    )


def p_value(p: float) -> str:
    """A p-value with its sign of relation, which no line break parts."""
    text = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def duration(seconds: float) -> str:
    """A time, in the two units that matter."""
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
    """How often each run is right, the best first."""
    best, *others = ranked
    first = (
        f"{best.name} is right on {percent(best.evaluation.accuracy)} of "
        f"{best.evaluation.test_images:,} test images (95% interval {interval(best)})"
    )
    rest = [f"{r.name} on {percent(r.evaluation.accuracy)} ({interval(r)})" for r in others]
    return ", ".join([first, *rest]) + "."


def lead(pair: PairComparison, first: Result, second: Result) -> str:
    """Whether one of two runs is better beyond chance."""
    better, other = first, second
    if first.evaluation.accuracy < second.evaluation.accuracy:
        better, other = second, first
    points = 100 * (better.evaluation.accuracy - other.evaluation.accuracy)
    verdict = "is beyond chance" if pair.p_value < SIGNIFICANT else "may be chance"
    return (
        f"The lead of {better.name} over {other.name}, {points:.1f} points, {verdict} "
        f"(McNemar test, {p_value(pair.p_value)})."
    )


def top_confusions(result: Result, count: int) -> list[tuple[str, str, int, int]]:
    """The most frequent mistakes: true class, predicted class, mistakes, images of the class."""
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
    """Which classes the run knows best and least."""
    known = [(one.f1, one.name) for one in result.evaluation.classes if one.f1 is not None]
    # The first of equals, in the order of the classes.
    best, best_name = max(known, key=lambda one: one[0])
    worst, worst_name = min(reversed(known), key=lambda one: one[0])
    return (
        f"Best at {best_name} (F1 {best:.3f}), worst at {worst_name} ({worst:.3f}); the mean over "
        f"classes is {result.evaluation.macro_f1:.3f}."
    )


def confusion_sentence(result: Result) -> str:
    """Which class the run most often takes for which."""
    found = top_confusions(result, 1)
    if not found:
        return f"{result.name} makes no mistake."
    true, predicted, times, images = found[0]
    return f"{result.name} most often takes {true} for {predicted}: {times:,} of {images:,} images."


def confidence_sentence(result: Result) -> str:
    """Whether the run is as sure of itself as it may be."""
    gap = result.overconfidence
    figures = (
        f"mean confidence {percent(result.evaluation.accuracy + gap)}, accuracy "
        f"{percent(result.evaluation.accuracy)}"
    )
    if abs(gap) < 0.01:
        return f"As trained, the confidence of {result.name} is right on average: {figures}."
    word = "overconfident" if gap > 0 else "underconfident"
    return f"As trained, {result.name} is {word}: {figures}."


def learning_description(results: Sequence[Result], metric: str) -> str:
    """What the learning curve shows, for those who do not see it."""
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
