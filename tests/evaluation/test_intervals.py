import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score

from thumbnet.evaluation.intervals import f1_intervals, paired_differences, wilson


def some_answers(images: int = 400, classes: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = random.integers(classes, size=images)
    first = np.where(random.random(images) < 0.7, labels, random.integers(classes, size=images))
    second = np.where(random.random(images) < 0.5, labels, random.integers(classes, size=images))
    return labels, first, second


def test_wilson_matches_its_formula() -> None:
    # (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n) for 80 of 100, z = 1.959964.
    interval = wilson(80, 100)
    assert interval is not None
    assert interval.low == pytest.approx(0.71117, abs=1e-5)
    assert interval.high == pytest.approx(0.86663, abs=1e-5)
    assert wilson(0, 0) is None


@pytest.mark.slow
def test_intervals_of_many_images_match_the_bootstrap() -> None:
    labels, predicted, _ = some_answers()
    macro, classes = f1_intervals(confusion_matrix(labels, predicted))
    random, scores = np.random.default_rng(2), []
    for _ in range(1000):
        chosen = random.integers(len(labels), size=len(labels))
        scores.append(f1_score(labels[chosen], predicted[chosen], average=None))
    plain = np.quantile(np.array(scores), (0.025, 0.975), axis=0)
    plain_macro = np.quantile(np.mean(scores, axis=1), (0.025, 0.975))
    assert [macro.low, macro.high] == pytest.approx(plain_macro.tolist(), abs=0.01)
    for found, low, high in zip(classes, *plain, strict=True):
        assert found is not None
        assert [found.low, found.high] == pytest.approx([low, high], abs=0.015)


@pytest.mark.parametrize(("classes", "images", "accuracy"), [(5, 2, 0.6), (10, 10, 0.8)])
def test_the_interval_of_macro_f1_covers_the_true_value(
    classes: int, images: int, accuracy: float
) -> None:
    random, covered, draws = np.random.default_rng(0), 0, 400
    labels = np.repeat(np.arange(classes), images)
    for _ in range(draws):
        # If mistakes are spread evenly over the other classes, the true macro F1 is the accuracy.
        shift = random.integers(1, classes, size=len(labels))
        right = random.random(len(labels)) < accuracy
        predicted = np.where(right, labels, (labels + shift) % classes)
        macro, _ = f1_intervals(confusion_matrix(labels, predicted, labels=range(classes)))
        covered += macro.low <= accuracy <= macro.high
    assert 0.93 <= covered / draws <= 0.995


def test_a_perfect_score_on_few_images_is_not_certain() -> None:
    macro, classes = f1_intervals(np.diag([4, 4]))
    assert 0.5 < macro.low < 0.8
    assert macro.high == 1
    assert classes[0] is not None
    assert classes[0].low < macro.low


def test_a_class_without_images_has_no_interval() -> None:
    _, classes = f1_intervals(np.array([[3, 1], [0, 0]]))
    assert classes[0] is not None
    assert classes[1] is None


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(2, 6), st.integers(1, 60))
def test_intervals_lie_within_the_possible_range(seed: int, classes: int, images: int) -> None:
    random = np.random.default_rng(seed)
    labels, predicted = random.integers(classes, size=(2, images))
    macro, each = f1_intervals(confusion_matrix(labels, predicted, labels=range(classes)))
    for interval in (macro, *each):
        if interval is not None:
            assert 0 <= interval.low <= interval.high <= 1


def test_paired_intervals_contain_the_observed_difference() -> None:
    labels, first, second = some_answers()
    accuracy, f1 = paired_differences(labels, first, second, 4)
    gain = np.mean(first == labels) - np.mean(second == labels)
    assert 0 < accuracy.low < gain < accuracy.high
    # The normal approximation of the paired difference, by hand.
    pairs = (first == labels).astype(float) - (second == labels)
    half = 1.96 * pairs.std() / np.sqrt(len(pairs))
    assert accuracy.high - accuracy.low == pytest.approx(2 * half, rel=0.1)
    assert f1.low < f1_score(labels, first, average="macro") - f1_score(
        labels, second, average="macro"
    )


def test_a_run_compared_with_itself_has_no_difference() -> None:
    labels, first, _ = some_answers()
    for interval in paired_differences(labels, first, first, 4):
        assert interval.low == -interval.high
        assert 0 < interval.high < 0.01


def test_runs_that_agree_on_few_images_may_still_differ() -> None:
    labels = np.arange(8) % 2
    for interval in paired_differences(labels, labels, labels, 2):
        assert interval.low < -0.1
        assert interval.high > 0.1
