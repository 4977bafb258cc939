"""A run's own model in Keras."""

from pathlib import Path

import numpy as np

from thumbnet.data.stored import Images
from thumbnet.engines.contract import predict_in_batches
from thumbnet.engines.files import file_digest
from thumbnet.errors import InputError
from thumbnet.evaluation.calibration import scale_probabilities
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.models import seeded
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras


class KerasEngine:
    """The run's own `.keras` model; see `Engine`.

    Attributes:
        model: a model from uint8 pixels to uncalibrated probabilities.
    """

    name = "keras"

    def __init__(
        self, path: Path, class_names: tuple[str, ...] = (), temperature: float = 1.0
    ) -> None:
        """Load a model file in Keras's safe mode, after checking its contents.

        Args:
            path: the model file.
            class_names: names of the classes, if they are needed.
            temperature: temperature that calibrates the output of `predict`; 1 leaves it unchanged.

        Raises:
            InputError: the file is missing or damaged, or is not an image classifier.
        """
        from thumbnet.runs.model_file import require_buildable, require_safe_model

        require_safe_model(path)
        require_buildable(path)
        keras = prepare_keras()
        try:
            with seeded(0):
                self.model = keras.saving.load_model(path, compile=False, safe_mode=True)
            _, *image_shape = self.model.input_shape
            height, width, channels = image_shape
        except Exception as error:  # Keras's readers raise many types
            raise InputError(f"{path} cannot be loaded as a model: {error}") from error
        self.path = path
        self.image_shape = (height, width, channels)
        self.class_names = class_names
        self.temperature = temperature

    def predict(self, images: Images) -> Float32Array:
        """See `Engine.predict`."""
        probabilities = predict_in_batches(
            lambda batch: np.asarray(self.model.predict_on_batch(batch)),
            images,
            self.image_shape,
            classes=self.model.output_shape[-1],
        )
        return scale_probabilities(probabilities, self.temperature)


def open_keras_engine(run: Run) -> KerasEngine:
    """Open the run's own model in Keras.

    Raises:
        InputError: the run has not finished, or its model file was modified.
    """
    expected = run.metrics().model_sha256
    if not run.model_path.is_file():
        raise InputError(f"{run.model_path} is missing; train the run again")
    found = file_digest(run.model_path)
    if found != expected:
        raise InputError(
            f"{run.model_path} is not the file written by this run: its SHA-256 is {found}, but "
            f"{run.metrics_path.name} records {expected}"
        )
    return KerasEngine(run.model_path, run.class_names(), run.temperature())
