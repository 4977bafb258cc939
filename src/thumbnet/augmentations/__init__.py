"""The augmentations in a recipe's `[augmentation]` table, one file each.

The file `NAME.py` defines the key NAME. It contains

- `Setting`, the type of the key's value, checked by pydantic; a value of 0 switches it off;
- `MIXES_IMAGES`, whether images of a batch and their labels are mixed;
- `build`, which takes a value and returns an `Augment`.

Crops, flips and resizing are done in `thumbnet.training.batches`, for all images at once.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from thumbnet import registry
from thumbnet.data.stored import UInt8Array
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras

Float32Array = npt.NDArray[np.float32]

Augment = Callable[
    [UInt8Array, Float32Array, np.random.Generator], tuple[npt.NDArray[Any], Float32Array]
]
"""Augments a batch: takes uint8 images of shape (n, height, width, channels), their labels as
float32 probabilities of shape (n, classes), and a random generator used only for this batch.
Returns images of the same shape, uint8 or floats from 0 to 255, and labels."""


class Augmentation(Protocol):
    """The contents of a file of this folder, or of a registered augmentation."""

    Setting: Any
    MIXES_IMAGES: bool

    def build(self, setting: Any) -> Augment:
        """The augmentation for this value of its key."""


def augmentation(name: str) -> Augmentation:
    """The augmentation of that name.

    Raises:
        InputError: there is no such augmentation, or its package cannot be imported.
    """
    found: Augmentation = registry.part("augmentation", name)
    return found


def in_order(names: Iterable[str]) -> list[str]:
    """The order in which augmentations are applied: those that mix images come last."""
    return sorted(names, key=lambda name: (augmentation(name).MIXES_IMAGES, name))


def of_layer(make_layer: "Callable[[], keras.Layer]") -> Augment:
    """An augmentation from a Keras preprocessing layer.

    It draws only from the generator that it is given, so that a batch is augmented in the same way
    whatever came before it.

    Args:
        make_layer: creates the layer; called once.
    """
    prepare_keras()
    layer: Any = make_layer()
    seeds = [variable for variable in layer.variables if variable.name == "seed_generator_state"]

    def augment(
        images: UInt8Array, labels: Float32Array, random: np.random.Generator
    ) -> tuple[npt.NDArray[Any], Float32Array]:
        for variable in seeds:
            variable.assign(random.integers(2**31, size=2))
        pixels = np.asarray(images, np.float32)
        if not hasattr(layer, "transform_labels"):  # the layer does not transform labels
            return np.asarray(layer(pixels, training=True)), labels
        changed = layer({"images": pixels, "labels": labels}, training=True)
        return np.asarray(changed["images"]), np.asarray(changed["labels"])

    return augment
