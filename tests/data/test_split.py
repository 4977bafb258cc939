"""Validation splits and subsets: stratified, reproducible, and with images of every class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnet.data.dataset import Dataset
from thumbnet.data.split import stratified_split, stratified_subset
from thumbnet.errors import InputError


def repeated(*counts: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Labels 0, 1, … in random order, repeated by the given counts."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(labels)


def test_the_split_is_stratified_seeded_and_complete(sample: Dataset) -> None:
    train, held_out = stratified_split(sample.train.labels, 0.1, seed=5)
    assert np.array_equal(np.sort([*train, *held_out]), np.arange(len(sample.train)))
    counts = np.bincount(sample.train.labels[held_out])
    assert counts.tolist() == [len(sample.train) // 100] * 10
    again = stratified_split(sample.train.labels, 0.1, seed=5)
    assert np.array_equal(held_out, again[1])
    assert not np.array_equal(held_out, stratified_split(sample.train.labels, 0.1, seed=6)[1])


def test_a_fraction_of_zero_holds_nothing_out(sample: Dataset) -> None:
    train, held_out = stratified_split(sample.train.labels, 0, seed=0)
    assert (len(train), len(held_out)) == (len(sample.train), 0)


def test_a_class_of_three_images_is_in_both_splits() -> None:
    labels = repeated(100, 100, 3)
    chosen = set()
    for seed in range(20):
        train, held_out = stratified_split(labels, 0.1, seed)
        assert np.bincount(labels[held_out]).tolist() == pytest.approx([10, 10, 1], abs=1)
        assert set(labels[held_out]) == set(labels[train]) == {0, 1, 2}
        chosen |= set(held_out[labels[held_out] == 2])
    assert len(chosen) == 3


def test_every_small_class_is_in_both_splits() -> None:
    labels = repeated(*[8] * 10)
    train, held_out = stratified_split(labels, 0.1, seed=0)
    assert np.bincount(labels[held_out]).tolist() == [1] * 10
    assert np.bincount(labels[train]).tolist() == [7] * 10


def test_classes_too_small_for_two_splits_are_named() -> None:
    names = ("cat", "dog", "owl", "bee")
    message = (
        r"classes dog, bee: there is only one training image, and validation = 0.1 needs another; "
        r"add images, remove the class, or use `thumbnet train` with --validation 0"
    )
    with pytest.raises(InputError, match=message):
        stratified_split(repeated(20, 1, 20, 1), 0.1, seed=0, class_names=names)
    train, held_out = stratified_split(repeated(20, 1), 0, seed=0)
    assert (len(train), len(held_out)) == (21, 0)


def test_a_subset_contains_every_class() -> None:
    labels = repeated(1000, 3, 1)
    chosen = stratified_subset(labels, 0.1, seed=3)
    assert np.bincount(labels[chosen]).tolist() == [100, 1, 1]
    np.testing.assert_array_equal(chosen, stratified_subset(labels, 0.1, seed=3))
    assert not np.array_equal(chosen, stratified_subset(labels, 0.1, seed=4))


@given(
    sizes=st.lists(st.integers(1, 6), min_size=4, max_size=30),
    classes=st.integers(2, 4),
    fraction=st.floats(0.05, 0.6),
    seed=st.integers(0, 99),
)
def test_groups_stay_together_and_both_splits_contain_every_class(
    sizes: list[int], classes: int, fraction: float, seed: int
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    labels = groups % min(classes, len(sizes) // 2)
    train, held_out = stratified_split(labels, fraction, seed, groups)
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    assert set(groups[train]).isdisjoint(groups[held_out])
    assert set(labels[train]) == set(labels[held_out]) == set(labels)
    again = stratified_split(labels, fraction, seed, groups)
    np.testing.assert_array_equal(held_out, again[1])


def test_groups_of_equal_size_are_split_in_proportion() -> None:
    labels, groups = np.repeat(np.arange(5), 600), np.arange(3000) // 30
    _, held_out = stratified_split(labels, 0.1, 0, groups)
    assert np.bincount(labels[held_out]).tolist() == [60] * 5


def test_a_class_with_only_one_group_is_named() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    with pytest.raises(InputError, match="class dog: there is only one training group of images"):
        stratified_split(labels, 0.3, 0, np.array([1, 1, 2, 3, 3, 3]), ("cat", "dog"))
