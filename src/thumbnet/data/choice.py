"""Choosing the same number of images of every class."""

import numpy as np

from thumbnet.data.dataset import Int64Array
from thumbnet.errors import InputError


def choose_per_class(labels: Int64Array, per_class: int, seed: int) -> Int64Array:
    """Choose the same number of images of every class at random.

    Args:
        labels: int64 array of shape (n,).
        per_class: number of images of each class, at least 1.
        seed: the same seed gives the same images.

    Returns:
        int64 array of shape (classes, per_class): distinct indices into `labels`, one row for each
        label that occurs, in ascending order of the labels.

    Raises:
        InputError: a class has fewer than `per_class` images.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if not 1 <= per_class <= counts.min():
        raise InputError(
            f"cannot choose {per_class} images per class; give a number from 1 to {counts.min()}, "
            "the size of the smallest class"
        )
    generator = np.random.default_rng(seed)
    return np.stack(
        [generator.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in classes]
    )
