"""FLOP and memory of a model, counted from its layers."""

import math
from typing import TYPE_CHECKING, Any

from thumbnet.models import seeded
from thumbnet.models.layers import flat_layers
from thumbnet.runs.records import ModelSize

if TYPE_CHECKING:
    import keras

FLOAT_BYTES = 4


def measure_model(model: "keras.Model") -> ModelSize:
    """Parameters, FLOP and memory of a model."""
    layers = list(flat_layers(model))
    return ModelSize(
        parameters=model.count_params(),
        flop_per_image=count_flop(model),
        memory_bytes=FLOAT_BYTES * (model.count_params() + max(map(_values, layers))),
    )


def count_flop(model: "keras.Model") -> int:
    """Floating-point operations of the forward pass of one image.

    Counts the multiplications and additions of every layer with a kernel (dense and
    convolutional): two for each weight at each position. Biases, normalisation, activations and
    pooling are not counted.
    """
    return sum(map(_kernel_flop, flat_layers(model)))


def count_training_flop(model: "keras.Model", image_shape: tuple[int, ...]) -> int:
    """Floating-point operations per image of a training step, at one image size.

    Each layer with a kernel counts as in `count_flop`: once for the forward pass, once for the
    gradient of its kernel if the kernel is trained, and once for the gradient of its input if an
    earlier layer is trained.

    Args:
        model: the model in training; its layers in order of the forward pass.
        image_shape: height, width and channels.
    """
    import keras

    uncompiled = keras.Model(model.inputs[0], model.outputs[0])
    pixels = keras.Input(image_shape, dtype=model.inputs[0].dtype)
    with seeded(0):
        sized = keras.models.clone_model(uncompiled, pixels)
    flop, trained_before = 0, False
    for ours, layer in zip(flat_layers(uncompiled), flat_layers(sized), strict=True):
        trained = bool(ours.trainable_weights)
        flop += _kernel_flop(layer) * (1 + trained + trained_before)
        trained_before |= trained
    return flop


def _kernel_flop(layer: Any) -> int:
    if getattr(layer, "kernel", None) is None:
        return 0
    flop: int = 2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
    return flop


def _values(layer: Any) -> int:
    """Number of input and output values of a layer, for one image."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    return sum(math.prod(tensor.shape[1:]) for tensor in [*inputs, layer.output])
