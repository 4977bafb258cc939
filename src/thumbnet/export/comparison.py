"""How far an exported model may be from that of Keras, and how far it is."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from thumbnet.data.dataset import Images
from thumbnet.engines import Engine, prediction_batch
from thumbnet.evaluation.intervals import Interval, paired_differences
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.export.images import ExportImages

# Both compute in float32, in another order of summation.
MAXIMUM_DIFFERENCE = 1e-4
# Two classes can be equally probable to within rounding.
LEAST_AGREEMENT = 0.999
MAXIMUM_LOSS = 0.005
"""Of accuracy, by int8."""
LEAST_SHRINKAGE = 3.0
"""By int8: how many times smaller than the weights in float32."""

_ROUNDING = 1e-9  # one image of 200 is not more than 0.5 points


@dataclass(frozen=True)
class Comparison:
    """An exported model beside Keras, on the same images.

    Attributes:
        images: how many.
        images_from: which ones.
        max_difference: the largest difference of any probability.
        agreement: share of images with the same most probable class.
        accuracy: share of images that the exported model gets right; None without labels.
        keras_accuracy: share that Keras gets right; None without labels.
        accuracy_loss_interval: 95% interval of the difference; None without labels.
        shrinkage: bytes of the weights in float32 for each byte of the export.
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
        """The bounds by their names."""
        if not self.quantized:
            return {"max_difference": MAXIMUM_DIFFERENCE, "agreement": LEAST_AGREEMENT}
        return {"accuracy_loss": MAXIMUM_LOSS, "shrinkage": LEAST_SHRINKAGE}

    def failures(self) -> list[str]:
        """What is beyond tolerance, in words; empty if the export is as it should be."""
        bounds = self.tolerance
        found = []
        # Written so that NaN, which compares with nothing, is a failure too.
        if "max_difference" in bounds and not self.max_difference <= bounds["max_difference"]:
            found.append(
                f"probabilities differ by up to {self.max_difference:.2g}, more than "
                f"{bounds['max_difference']:g}"
            )
        if "agreement" in bounds and not self.agreement >= bounds["agreement"]:
            found.append(
                f"{self.agreement:.2%} of the answers are the same, less than "
                f"{bounds['agreement']:.1%}"
            )
        if "accuracy_loss" in bounds and self.accuracy is not None:
            loss = (self.keras_accuracy or 0) - self.accuracy
            if not loss <= bounds["accuracy_loss"] + _ROUNDING:
                found.append(
                    f"accuracy falls from {self.keras_accuracy:.2%} to {self.accuracy:.2%}, by "
                    f"more than {100 * bounds['accuracy_loss']:g} points"
                )
        if "shrinkage" in bounds and not self.shrinkage >= bounds["shrinkage"]:
            found.append(
                f"it is {self.shrinkage:.1f} times smaller than the weights in float32, less than "
                f"{bounds['shrinkage']:g} times"
            )
        return found


def compare_engines(
    keras: Engine, exported: Engine, images: ExportImages, shrinkage: float, quantized: bool
) -> Comparison:
    """Let both answer the same images, in batches of several sizes, and compare."""
    pixels, labels = images.compared.images, images.compared.labels
    expected, found = _in_uneven_batches(keras, pixels), _in_uneven_batches(exported, pixels)
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


def _in_uneven_batches(engine: Engine, images: Images) -> Float32Array:
    """One image, then seven, then the rest: a model that is tied to one size is found out."""
    size = prediction_batch(images.shape[1:])
    bounds = [0, 1, 8, *range(8 + size, len(images), size), len(images)]
    answers = [engine.predict(images[start:end]) for start, end in pairwise(bounds)]
    return np.concatenate(answers)
