"""Shares of the training images: those held out, and those that are left of the rest."""

import numpy as np

from thumbnet.data.dataset import Int64Array
from thumbnet.errors import InputError


def stratified_split(
    labels: Int64Array, validation: float, seed: int
) -> tuple[Int64Array, Int64Array]:
    """Split the training images into a training and a validation part, class by class.

    Args:
        labels: int64 array of shape (n,).
        validation: share of the images to hold out, from 0 (none) to below 1.
        seed: the same seed gives the same split.

    Returns:
        Two sorted int64 arrays of indices that share none and cover all: training, validation.

    Raises:
        InputError: a class has too few images to be in both parts.
    """
    if validation == 0:
        return np.arange(len(labels)), np.arange(0)
    try:
        return _parted(labels, validation, seed)
    except ValueError as error:
        raise InputError(
            f"a validation share of {validation} of {len(labels)} images cannot hold every class "
            f"({error}); use a larger share, more images, or validation = 0"
        ) from error


def stratified_subset(labels: Int64Array, subset: float, seed: int) -> Int64Array:
    """Choose so large a share of the images, class by class.

    Args:
        labels: int64 array of shape (n,).
        subset: above 0 and below 1.
        seed: the same seed gives the same images.

    Returns:
        A sorted int64 array of indices.

    Raises:
        InputError: a class has too few images to be in it.
    """
    try:
        _, chosen = _parted(labels, subset, seed)
    except ValueError as error:
        raise InputError(
            f"a subset of {subset} of {len(labels)} images cannot hold every class ({error}); use "
            "a larger one, or subset = 1 for all"
        ) from error
    return chosen


def _parted(labels: Int64Array, share: float, seed: int) -> tuple[Int64Array, Int64Array]:
    from sklearn.model_selection import train_test_split

    rest, part = train_test_split(
        np.arange(len(labels)), test_size=share, stratify=labels, random_state=seed
    )
    return np.sort(rest), np.sort(part)
