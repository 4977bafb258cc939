"""What the architectures share."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import Images, UInt8Array, channel_histogram

if TYPE_CHECKING:
    import keras

# Beyond that it takes too long to find all eigenvectors (half a minute for 3,072 values, those of a
# 64×64 picture that is shrunk twice), and the largest few hundred can be had in a second.
EXACT_UP_TO = 1_024

Float32Array = npt.NDArray[np.float32]


def standardise(train_images: Images) -> "keras.layers.Layer":
    """A layer that takes uint8 pixels to mean 0 and deviation 1 in each channel.

    The statistics of `train_images` (n, height, width, channels) become constants of the layer,
    so that whoever has the model has its preprocessing. A constant channel keeps its scale.
    """
    from keras import layers

    mean, variance = [], []
    for histogram in channel_histogram(train_images):
        counts = histogram / histogram.sum()
        levels = np.arange(256)
        mean.append(float(counts @ levels))
        variance.append(float(counts @ (levels - mean[-1]) ** 2) or 1.0)
    # Pixels up to 255 and the filters made of them are no matter for 16 bits.
    return layers.Normalization(
        axis=-1, mean=mean, variance=variance, dtype="float32", name="standardise"
    )


def first_images(train_images: Images, count: int) -> UInt8Array:
    """Up to `count` images of 32×32 pixels, or as many larger ones as have that many pixels."""
    height, width = train_images.shape[1:3]
    return np.asarray(train_images[: max(1, min(count, count * 32 * 32 // (height * width)))])


def whitening_filters(vectors: Float32Array, count: int, floor: float) -> Float32Array:
    """Directions that make the components of vectors uncorrelated and alike in size.

    Args:
        vectors: float32 array of shape (n, size).
        count: how many directions to keep, those of the largest variance.
        floor: added to the variances, so that directions that hardly vary are not blown up.

    Returns:
        float32 array of shape (size, count), or with fewer columns where there are not so many:
        the eigenvectors of the covariance about zero, each divided by the root of its eigenvalue.
    """
    if vectors.shape[1] > EXACT_UP_TO:
        from sklearn.utils.extmath import randomized_svd

        _, singular, rows = randomized_svd(vectors, count, random_state=0)
        variances, directions = singular**2 / len(vectors), rows.T
    else:
        variances, directions = np.linalg.eigh(vectors.T @ vectors / len(vectors))
        variances, directions = variances[::-1][:count], directions[:, ::-1][:, :count]
    filters: Float32Array = directions / np.sqrt(np.maximum(variances, 0) + floor)
    return filters.astype(np.float32)
