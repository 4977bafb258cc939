"""Preparing a model for export: the same function with fewer and simpler layers."""

from typing import TYPE_CHECKING, Any

import numpy as np

from thumbnet.models import seeded
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras

    from thumbnet.evaluation.predictions import Float32Array


def prepare_for_export(model: "keras.Model", temperature: float) -> "keras.Model":
    """A copy of a model for export.

    It differs from the run's model as follows:

    - Logits are divided by `temperature` before the softmax, so that predictions are calibrated.
    - `Normalization` becomes `Rescaling` with the same constants, because Keras exports those of
      `Normalization` to ONNX as inputs that the caller has to provide.
    - The exact GELU is written with the error function, because Keras exports it to ONNX as an
      operator that does not exist.
    - A `BatchNormalization` that directly follows a layer with weights is folded into those
      weights. One after a pooling layer is kept: otherwise OpenVINO 2026.4 would see an activation
      right after the pooling and move it before the pooling, which is wrong for activations that
      are not monotonic, such as SiLU and GELU.
    - Dropout is removed, as it has no effect outside training.

    Args:
        model: a model from uint8 images to probabilities that ends with a softmax.
        temperature: see `Run.temperature`.

    Returns:
        A float32 model from uint8 images named "images" to float32 probabilities.
    """
    keras = prepare_keras()
    layers = keras.layers
    folded = _foldable(model)
    hosts = {host.name for host in folded.values()}
    softmax = model.layers[-1]

    def clone(layer: Any) -> Any:
        if isinstance(layer, layers.Normalization):
            scale = 1 / np.maximum(np.sqrt(layer.variance), keras.config.epsilon())
            offset = -np.asarray(layer.mean) * scale
            return layers.Rescaling(
                scale.tolist(), offset.tolist(), name=layer.name, dtype="float32"
            )
        if isinstance(layer, layers.Activation) and layer.activation is keras.activations.gelu:
            return layers.Activation(_gelu, name=layer.name)
        config = layer.get_config() | {"dtype": "float32"}
        if layer.name in hosts:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in folded or isinstance(layer, layers.Dropout):
            return args[0]
        if layer.name == softmax.name:
            return layer(
                layers.Rescaling(1 / temperature, name="temperature", dtype="float32")(args[0])
            )
        return layer(*args, **kwargs)

    images = keras.Input(model.input_shape[1:], dtype="uint8", name="images")
    with seeded(0):
        prepared = keras.models.clone_model(
            model, input_tensors=images, clone_function=clone, call_function=call
        )
    norms = {host.name: model.get_layer(norm) for norm, host in folded.items()}
    for layer in prepared.layers:
        if layer.name in norms:
            layer.set_weights(_fold(model.get_layer(layer.name), norms[layer.name]))
        elif layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    prepared(
        np.zeros((1, *model.input_shape[1:]), np.uint8)
    )  # Keras only exports a model that has been called
    return prepared


def _gelu(x: Any) -> Any:
    from keras import ops

    return 0.5 * x * (1 + ops.erf(x * 0.5**0.5))


def _foldable(model: "keras.Model") -> dict[str, Any]:
    """Names of batch normalisations, each with the preceding linear layer that only feeds it."""
    from keras import layers

    folded = {}
    for norm in model.layers:
        if not isinstance(norm, layers.BatchNormalization):
            continue
        host = norm.input._keras_history.operation
        if (
            type(host) in (layers.Dense, layers.Conv2D)
            and host.activation.__name__ == "linear"
            and len(host._outbound_nodes) == 1
        ):
            folded[norm.name] = host
    return folded


def _fold(host: Any, norm: Any) -> "list[Float32Array]":
    """Kernel and bias that are equivalent to `host` followed by `norm`."""
    scale = 1 / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma)
    offset = np.asarray(norm.beta) if norm.center else 0
    bias = np.asarray(host.bias) if host.use_bias else 0
    return [
        (np.asarray(host.kernel) * scale).astype(np.float32),
        ((bias - np.asarray(norm.moving_mean)) * scale + offset).astype(np.float32),
    ]
