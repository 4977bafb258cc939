"""Test-time augmentation: averaging the predictions for several views of an image."""

from collections.abc import Iterator

import numpy as np

from thumbnet.data.dataset import UInt8Array
from thumbnet.engines import Engine
from thumbnet.evaluation.predictions import Float32Array


def predict_views(engine: Engine, images: UInt8Array, views: int) -> Float32Array:
    """Class probabilities, averaged over several views of each image.

    The log probabilities are averaged, which ranks the classes like averaged logits.
    Source of the six views and their weights: Jordan 2024 (arXiv 2404.00498).

    Args:
        engine: the engine.
        images: uint8 of shape (n, height, width, channels).
        views: 1 for the image only, 2 to add its mirror image, 6 to add shifted copies of both.

    Returns:
        float32 of shape (n, classes).
    """
    total = sum(
        weight * np.log(np.maximum(engine.predict(view), np.finfo(np.float32).tiny))
        for weight, view in _views(images, views)
    )
    likely = np.exp(total - np.max(total, axis=1, keepdims=True))
    probabilities: Float32Array = likely / likely.sum(axis=1, keepdims=True)
    return probabilities


def _views(images: UInt8Array, views: int) -> Iterator[tuple[float, UInt8Array]]:
    """Each view with its weight."""
    if views == 1:
        yield 1.0, images
        return
    upright = [(0.5, images)]
    if views == 6:
        framed = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        upright = [(0.25, images), (0.125, framed[:, :-2, :-2]), (0.125, framed[:, 2:, 2:])]
    for weight, view in upright:
        yield weight, np.ascontiguousarray(view)
        yield weight, np.ascontiguousarray(view[:, :, ::-1])
