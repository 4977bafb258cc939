"""How far an exported model's answers may be from those of Keras, and how far they are."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from thumbnet.engines import PREDICTION_BATCH, Engine
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.export.images import ExportImages

# Both compute in float32, in another order of summation.
MAXIMUM_DIFFERENCE = 1e-4
# Two classes can be equally probable to within rounding.
LEAST_AGREEMENT = 0.999
MAXIMUM_LOSS = 0.005
"""Of accuracy, by int8."""

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
        quantized: whether the exported model computes in int8.
    """

    images: int
    images_from: str
    max_difference: float
    agreement: float
    accuracy: float | None
    keras_accuracy: float | None
    quantized: bool

    @property
    def tolerance(self) -> dict[str, float]:
        """The bounds by their names."""
        if not self.quantized:
            return {"max_difference": MAXIMUM_DIFFERENCE, "agreement": LEAST_AGREEMENT}
        return {"accuracy_loss": MAXIMUM_LOSS}

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
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `exports.json`."""
        return {
            "images": self.images,
            "images_from": self.images_from,
            "max_difference": self.max_difference,
            "agreement": self.agreement,
            "accuracy": self.accuracy,
            "keras_accuracy": self.keras_accuracy,
            "tolerance": self.tolerance,
        }


def compare_engines(
    keras: Engine, exported: Engine, images: ExportImages, quantized: bool
) -> Comparison:
    """Let both answer the same images, in batches of several sizes, and compare."""
    pixels, labels = np.asarray(images.compared.images), images.compared.labels
    expected, found = keras.predict(pixels), _in_uneven_batches(exported, pixels)
    right = found.argmax(axis=1) == labels
    keras_right = expected.argmax(axis=1) == labels
    return Comparison(
        images=len(pixels),
        images_from=images.words,
        max_difference=float(np.abs(expected - found).max()),
        agreement=float((expected.argmax(axis=1) == found.argmax(axis=1)).mean()),
        accuracy=float(right.mean()) if images.labelled else None,
        keras_accuracy=float(keras_right.mean()) if images.labelled else None,
        quantized=quantized,
    )


def _in_uneven_batches(engine: Engine, images: Any) -> Float32Array:
    """One image, then seven, then the rest: a model that is tied to one size is found out."""
    bounds = [0, 1, 8, *range(8 + PREDICTION_BATCH, len(images), PREDICTION_BATCH), len(images)]
    answers = [engine.predict(images[start:end]) for start, end in pairwise(bounds)]
    return np.concatenate(answers)
