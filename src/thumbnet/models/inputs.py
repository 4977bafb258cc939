"""Preprocessing layers that the architectures share: standardisation and whitening."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import Images, UInt8Array, channel_histogram

if TYPE_CHECKING:
    import keras

# Above this size, finding all eigenvectors takes too long (half a minute for the 3,072 values of a
# 64×64 image shrunk by 2); a randomised SVD finds the largest few hundred in a second.
EXACT_UP_TO = 1_024

Float32Array = npt.NDArray[np.float32]


def standardise(train_images: Images) -> "keras.layers.Layer":
    """A layer that maps uint8 pixels to mean 0 and standard deviation 1 in each channel.

    The statistics of `train_images` (n, height, width, channels) become constants of the layer, so
    that the preprocessing is part of the model. A constant channel is not rescaled.
    """
    from keras import layers

    mean, variance = [], []
    for histogram in channel_histogram(train_images):
        counts = histogram / histogram.sum()
        levels = np.arange(256)
        mean.append(float(counts @ levels))
        variance.append(float(counts @ (levels - mean[-1]) ** 2) or 1.0)
    # Pixels up to 255, and the whitening filters computed from them, need float32.
    return layers.Normalization(
        axis=-1, mean=mean, variance=variance, dtype="float32", name="standardise"
    )


def first_images(train_images: Images, count: int) -> UInt8Array:
    """The first `count` images of 32×32 pixels, or fewer larger ones with as many pixels."""
    height, width = train_images.shape[1:3]
    return np.asarray(train_images[: max(1, min(count, count * 32 * 32 // (height * width)))])


def whitening_filters(vectors: Float32Array, count: int, floor: float) -> Float32Array:
    """PCA whitening: directions along which the vectors are uncorrelated, with similar variance.

    Args:
        vectors: float32 array of shape (n, size).
        count: number of directions to keep, in order of decreasing variance.
        floor: added to the variances, so that directions with little variance are not amplified
            too much.

    Returns:
        float32 array of shape (size, min(size, count)): the eigenvectors of the uncentred
        covariance, each divided by the square root of its eigenvalue plus `floor`.
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
