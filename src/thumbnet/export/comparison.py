"""Comparing an exported model with Keras, and the tolerances."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thumbnet.data.dataset import Images
from thumbnet.engines import Engine, prediction_batch
from thumbnet.evaluation.intervals import Interval, paired_differences
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.export.images import ExportImages

# Both compute in float32 but sum in a different order.
MAXIMUM_DIFFERENCE = 1e-4
# Two classes can be equally probable up to rounding.
LEAST_AGREEMENT = 0.999
MAXIMUM_LOSS = 0.005
"""Maximum loss of accuracy through int8."""
LEAST_SHRINKAGE = 3.0
"""Minimum ratio of the float32 weights to the int8 export in bytes."""

_ROUNDING = 1e-9  # one image in 200 must not count as more than 0.5 points


@dataclass(frozen=True)
class Comparison:
    """An exported model compared with Keras on the same images.

    Attributes:
        images: number of images.
        images_from: a description of the images.
        max_difference: maximum absolute difference between probabilities.
        agreement: fraction of images with the same most probable class.
        accuracy: accuracy of the exported model; None without labels.
        keras_accuracy: accuracy of the Keras model; None without labels.
        accuracy_loss_interval: 95% CI of the difference in accuracy; None without labels.
        shrinkage: ratio of the float32 weights to the export in bytes.
        quantized: whether the exported model computes in int8.
    """

    images: int
    images_from: str
    max_difference: float
    agreement: float
    accuracy: float | None
    keras_accuracy: float | None
    accuracy_loss_interval: Interval | None
    shrinkage: float
    quantized: bool

    @property
    def tolerance(self) -> dict[str, float]:
        """The tolerances by name."""
        if not self.quantized:
            return {"max_difference": MAXIMUM_DIFFERENCE, "agreement": LEAST_AGREEMENT}
        # Of fewer than 200 images, a single one is more than half a point.
        loss = max(MAXIMUM_LOSS, 1 / self.images)
        return {"accuracy_loss": loss, "shrinkage": LEAST_SHRINKAGE}

    def failures(self) -> list[str]:
        """Messages about exceeded tolerances; empty if the export is accepted."""
        bounds = self.tolerance
        found = []
        # Written so that NaN is a failure too.
        if "max_difference" in bounds and not self.max_difference <= bounds["max_difference"]:
            found.append(
                f"probabilities differ from Keras by up to {self.max_difference:.2g}, more than "
                f"{bounds['max_difference']:g}"
            )
        if "agreement" in bounds and not self.agreement >= bounds["agreement"]:
            found.append(
                f"{self.agreement:.2%} of the predictions agree with Keras, less than "
                f"{bounds['agreement']:.1%}"
            )
        if "accuracy_loss" in bounds and self.accuracy is not None:
            loss = (self.keras_accuracy or 0) - self.accuracy
            if not loss <= bounds["accuracy_loss"] + _ROUNDING:
                found.append(
                    f"accuracy drops from {self.keras_accuracy:.2%} to {self.accuracy:.2%}, by "
                    f"more than {100 * bounds['accuracy_loss']:g} points"
                )
        if "shrinkage" in bounds and not self.shrinkage >= bounds["shrinkage"]:
            found.append(
                f"it is only {self.shrinkage:.1f} times smaller than the float32 weights, less "
                f"than {bounds['shrinkage']:g} times"
            )
        return found


def compare_engines(
    keras: Engine, exported: Engine, images: ExportImages, shrinkage: float, quantized: bool
) -> Comparison:
    """Compare the predictions of both for the same images, in batches of several sizes."""
    pixels, labels = images.compared.images, images.compared.labels
    expected, found = (
        _predict_in_uneven_batches(keras, pixels),
        _predict_in_uneven_batches(exported, pixels),
    )
    keras_answers, answers = expected.argmax(axis=1), found.argmax(axis=1)
    accuracy = keras_accuracy = interval = None
    if images.labelled:
        accuracy = float((answers == labels).mean())
        keras_accuracy = float((keras_answers == labels).mean())
        interval, _ = paired_differences(labels, keras_answers, answers, found.shape[1])
    return Comparison(
        images=len(pixels),
        images_from=images.words,
        max_difference=float(np.abs(expected - found).max()),
        agreement=float((keras_answers == answers).mean()),
        accuracy=accuracy,
        keras_accuracy=keras_accuracy,
        accuracy_loss_interval=interval,
        shrinkage=shrinkage,
        quantized=quantized,
    )


def _predict_in_uneven_batches(engine: Engine, images: Images) -> Float32Array:
    """Predict one image, then seven, then the rest, to detect a model with a fixed batch size."""
    size = prediction_batch(images.shape[1:])
    bounds = [0, 1, 8, *range(8 + size, len(images), size), len(images)]
    answers = [engine.predict(images[start:end]) for start, end in pairwise(bounds)]
    return np.concatenate(answers)
