"""One way to ask a run for probabilities, whatever computes them."""

import hashlib
from pathlib import Path
from typing import Protocol

import numpy as np

from thumbnet.data.dataset import UInt8Array
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.model_file import require_safe_model
from thumbnet.run import Run
from thumbnet.runtime import prepare_keras

# Large enough to keep two cores busy, small enough that activations stay below a gigabyte.
PREDICTION_BATCH = 500


class Engine(Protocol):
    """A model that answers.

    Attributes:
        image_shape: height, width and channels of the images it takes.
    """

    image_shape: tuple[int, int, int]

    def predict(self, images: UInt8Array) -> Float32Array:
        """Class probabilities, float32 of shape (n, classes), of uint8 images.

        Args:
            images: raw pixels of shape (n, height, width, channels), any n.
        """


class KerasEngine:
    """The run's own `.keras` model."""

    def __init__(self, path: Path) -> None:
        """Load the model file at `path`, in Keras's safe mode and after a look inside.

        Raises:
            InputError: the file is missing, damaged, or no model of this kind.
        """
        require_safe_model(path)
        keras = prepare_keras()
        try:
            self._model = keras.saving.load_model(path, compile=False, safe_mode=True)
            _, *image_shape = self._model.input_shape
            height, width, channels = image_shape
        except Exception as error:  # Keras raises whatever its many readers raise
            raise InputError(f"{path} cannot be loaded as a model: {error}") from error
        self.image_shape = (height, width, channels)

    def predict(self, images: UInt8Array) -> Float32Array:
        """See `Engine.predict`."""
        if images.shape[1:] != self.image_shape or images.dtype != np.uint8:
            raise InputError(
                f"the model takes uint8 images of shape {self.image_shape}; got {images.dtype} of "
                f"shape {images.shape[1:]}"
            )
        batches = [
            np.asarray(self._model.predict_on_batch(images[start : start + PREDICTION_BATCH]))
            for start in range(0, len(images), PREDICTION_BATCH)
        ]
        classes = self._model.output_shape[-1]
        return np.concatenate([np.empty((0, classes), np.float32), *batches])


def open_engine(run: Run) -> Engine:
    """The engine for a finished run.

    Raises:
        InputError: the run has not finished, or its model file is not the one it wrote.
    """
    expected = run.metrics().get("model_sha256")
    if not run.model_path.is_file():
        raise InputError(f"{run.model_path} is missing; train the run again")
    found = file_digest(run.model_path)
    if found != expected:
        raise InputError(
            f"{run.model_path} is not the file that this run wrote: its SHA-256 is {found}, and "
            f"{run.metrics_path.name} says {expected}"
        )
    return KerasEngine(run.model_path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
