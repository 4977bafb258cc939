"""Choosing images class by class, for a look at them or for a balanced subset."""

import numpy as np

from thumbnet.data.dataset import Int64Array
from thumbnet.errors import InputError


def choose_per_class(labels: Int64Array, per_class: int, seed: int) -> Int64Array:
    """Choose as many images of every class at random.

    Args:
        labels: int64 array of shape (n,).
        per_class: how many images of each class, 1 or more.
        seed: the same seed gives the same images.

    Returns:
        int64 array of shape (classes, per_class): indices into `labels`, a row for each label
        that occurs, in the order of the labels, none of them twice.

    Raises:
        InputError: a class has fewer images than that.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if not 1 <= per_class <= counts.min():
        raise InputError(
            f"{per_class} images per class cannot be chosen: give a number from 1 to "
            f"{counts.min()}, the size of the smallest class"
        )
    generator = np.random.default_rng(seed)
    return np.stack(
        [generator.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in classes]
    )
