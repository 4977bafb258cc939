import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnet.data.choice import choose_per_class
from thumbnet.errors import InputError


@given(
    counts=st.lists(st.integers(3, 9), min_size=1, max_size=6),
    per_class=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_row_contains_distinct_images_of_its_class(
    counts: list[int], per_class: int, seed: int
) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = choose_per_class(labels, per_class, seed)
    assert chosen.shape == (len(counts), per_class)
    assert (labels[chosen] == np.arange(len(counts))[:, None]).all()
    assert len(set(chosen.ravel())) == chosen.size
    np.testing.assert_array_equal(chosen, choose_per_class(labels, per_class, seed))


def test_seeds_give_different_images() -> None:
    labels = np.repeat(np.arange(10), 100)
    assert not np.array_equal(choose_per_class(labels, 5, 1), choose_per_class(labels, 5, 2))


@pytest.mark.parametrize("per_class", [0, -1, 4])
def test_more_images_than_available_are_refused(per_class: int) -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    with pytest.raises(InputError, match=rf"choose {per_class} images per class; .* from 1 to 3"):
        choose_per_class(labels, per_class, 0)
