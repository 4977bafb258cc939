"""The interface of all engines, and prediction in batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from thumbnet.data.stored import Images, UInt8Array
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array

# Large enough to keep two cores busy with images of 32×32 pixels.
PREDICTION_BATCH = 500
# Activations grow with the number of pixels, so the pixels per batch are limited. In Keras, `cnn`
# and `best` then need less than 400 MB at 224×224 pixels.
PREDICTION_PIXELS = PREDICTION_BATCH * 32 * 32

PredictFn = Callable[[UInt8Array], Float32Array]


class Engine(Protocol):
    """A model that predicts class probabilities.

    Attributes:
        name: "keras", "onnx", "openvino", "litert" or "savedmodel", with "-int8" if quantised.
        path: the model file.
        image_shape: height, width and channels of the images it takes.
        class_names: one for each column of the predictions.
    """

    @property
    def name(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...

    def predict(self, images: Images) -> Float32Array:
        """Predict calibrated class probabilities: float32 array of shape (n, classes).

        Args:
            images: uint8 pixels of shape (n, height, width, channels), for any n.

        Raises:
            InputError: the images have another shape or dtype.
        """


def prediction_batch(image_shape: Sequence[int]) -> int:
    """Batch size for prediction, which limits memory for large images.

    Args:
        image_shape: height, width, and any further dimensions.

    Returns:
        500 for images of up to 32×32 pixels, 10 for 224×224; at least 1.
    """
    height, width, *_ = image_shape
    return max(1, min(PREDICTION_BATCH, PREDICTION_PIXELS // (height * width)))


def in_batches(images: Images) -> Iterator[slice]:
    """Slices that divide all images into batches for prediction."""
    size = prediction_batch(images.shape[1:])
    return (slice(start, start + size) for start in range(0, len(images), size))


@dataclass(frozen=True)
class ExportedEngine:
    """An exported model in its own runtime; see `Engine`. Thread-safe.

    Attributes:
        predict_batch: computes the probabilities of a batch. Calls are serialised because some
            runtimes are not thread-safe.
    """

    name: str
    path: Path
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    predict_batch: PredictFn
    _one_at_a_time: Lock = field(default_factory=Lock, repr=False)

    def predict(self, images: Images) -> Float32Array:
        """See `Engine.predict`."""
        with self._one_at_a_time:
            return predict_in_batches(
                self.predict_batch, images, self.image_shape, classes=len(self.class_names)
            )


def predict_in_batches(
    predict_batch: PredictFn, images: Images, image_shape: tuple[int, int, int], classes: int
) -> Float32Array:
    """Predict any number of images in batches.

    Raises:
        InputError: the images have another shape or dtype.
    """
    if images.shape[1:] != image_shape or images.dtype != np.uint8:
        raise InputError(
            f"the model takes uint8 images of shape {image_shape}; got {images.dtype} of shape "
            f"{images.shape[1:]}"
        )
    batches = [predict_batch(images[some]) for some in in_batches(images)]
    if len(batches) == 1:
        return batches[0]
    return np.concatenate([np.empty((0, classes), np.float32), *batches])
