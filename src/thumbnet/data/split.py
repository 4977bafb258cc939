"""The validation split: the only images that model selection may look at."""

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
    everything = np.arange(len(labels))
    if validation == 0:
        return everything, everything[:0]

    from sklearn.model_selection import train_test_split

    try:
        train, held_out = train_test_split(
            everything, test_size=validation, stratify=labels, random_state=seed
        )
    except ValueError as error:
        raise InputError(
            f"a validation share of {validation} of {len(labels)} images cannot hold every class "
            f"({error}); use a larger share, more images, or validation = 0"
        ) from error
    return np.sort(train), np.sort(held_out)
