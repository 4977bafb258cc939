import numpy as np
import pytest
from scipy.stats import binom

from thumbnet.errors import InputError
from thumbnet.evaluation.comparison import compare_pair
from thumbnet.evaluation.predictions import Predictions


def answers(right: list[bool], first_id: int = 0) -> Predictions:
    """Predictions for images of class 0, correct or wrong as given."""
    probabilities = np.array([[0.9, 0.1] if one else [0.1, 0.9] for one in right], np.float32)
    count = len(right)
    return Predictions(
        probabilities,
        np.zeros(count, np.int64),
        np.arange(first_id, first_id + count),
        ("yes", "no"),
    )


def test_counts_and_positions() -> None:
    pair = compare_pair(
        "one", answers([True, True, False, False]), "two", answers([True, False, True, False])
    )
    assert (pair.both_right, pair.both_wrong) == (1, 1)
    assert (pair.only_first.tolist(), pair.only_second.tolist()) == ([1], [2])
    assert pair.p_value == 1


def test_mcnemar_is_the_exact_binomial_test() -> None:
    one, two = [True] * 12 + [False] * 3, [False] * 12 + [True] * 3
    pair = compare_pair("one", answers(one), "two", answers(two))
    assert pair.p_value == pytest.approx(2 * binom.cdf(3, 15, 0.5))
    swapped = compare_pair("two", answers(two), "one", answers(one))
    assert swapped.p_value == pair.p_value


def test_a_run_does_not_differ_from_itself() -> None:
    same = answers([True, False])
    assert compare_pair("a", same, "b", same).p_value == 1


def test_runs_on_different_images_are_refused() -> None:
    with pytest.raises(InputError, match="one and two were tested on different images"):
        compare_pair("one", answers([True, True]), "two", answers([True, True], first_id=5))


def test_a_class_without_images_does_not_lower_macro_f1() -> None:
    pair = compare_pair("one", answers([True] * 8), "two", answers([False] * 8))
    assert (pair.accuracy_gain, pair.macro_f1_gain) == (1, 1)
