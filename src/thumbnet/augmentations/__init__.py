"""Augmentations that are keys of a recipe's `[augmentation]` table, one file each.

A file `NAME.py` makes the key NAME. It holds

- `Setting`, the type of the key's value, checked by pydantic; a value of 0 switches it off;
- `MIXES_IMAGES`, whether images of a batch are mixed, and their labels with them;
- `build`, which takes a value and returns an `Augment`.

What crops, flips or resizes an image is done in `thumbnet.training.batches`, for all images at
once.
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
"""Changes a batch: uint8 images of shape (n, height, width, channels), their labels as float32
probabilities of shape (n, classes), and a generator that this batch alone draws from. Gives images
of the same shape, uint8 or floats from 0 to 255, and labels."""


class Augmentation(Protocol):
    """What a file of this folder, or what is registered, holds."""

    Setting: Any
    MIXES_IMAGES: bool

    def build(self, setting: Any) -> Augment:
        """The augmentation with this value of its key."""


def augmentation(name: str) -> Augmentation:
    """The augmentation of that name.

    Raises:
        InputError: there is none, or its package cannot be imported.
    """
    found: Augmentation = registry.part("augmentation", name)
    return found


def in_order(names: Iterable[str]) -> list[str]:
    """The order in which augmentations are applied: those that mix images come last."""
    return sorted(names, key=lambda name: (augmentation(name).MIXES_IMAGES, name))


def of_layer(make_layer: "Callable[[], keras.Layer]") -> Augment:
    """An augmentation by one of Keras's preprocessing layers.

    Its random numbers are those of the generator that it is given, so that the same batch is
    changed in the same way whatever came before it.

    Args:
        make_layer: makes the layer, once.
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
        if not hasattr(layer, "transform_labels"):  # not one for images and their labels
            return np.asarray(layer(pixels, training=True)), labels
        changed = layer({"images": pixels, "labels": labels}, training=True)
        return np.asarray(changed["images"]), np.asarray(changed["labels"])

    return augment
