"""Gradients of a run's model with respect to its pixels, through the TensorFlow backend.

The model takes uint8 pixels, which have no gradient. Here the same layers, with the same weights,
are called on a float32 input instead.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from thumbnet.data.dataset import UInt8Array
from thumbnet.errors import JobError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras


class DifferentiableModel:
    """A model from float pixels (0 to 255) to probabilities and the outputs of selected layers."""

    def __init__(self, model: "keras.Model", layers: Sequence[str] = ()) -> None:
        """Rebuild `model` on float pixels.

        Args:
            model: from uint8 pixels to probabilities, as a run saves it.
            layers: names of layers whose outputs are needed in addition to the probabilities.

        Raises:
            JobError: the Keras backend is not TensorFlow.
        """
        if os.environ["KERAS_BACKEND"] != "tensorflow":
            raise JobError(
                "gradients need the TensorFlow backend; set KERAS_BACKEND=tensorflow and try again"
            )
        keras = prepare_keras()
        pixels = keras.Input(model.input_shape[1:], dtype="float32", name="float_pixels")
        # Calling the model as a whole would cast its input to uint8; calling its layers one by one
        # does not. The layers are shared with the original model, and so are their weights.
        outputs: dict[str, Any] = {}

        def remember(layer: Any, *arguments: Any, **named: Any) -> Any:
            outputs[layer.name] = layer(*arguments, **named)
            return outputs[layer.name]

        graph = keras.models.clone_model(
            model,
            input_tensors=pixels,
            clone_function=lambda layer: layer,
            call_function=remember,
        )
        self._model = keras.Model(pixels, [*(outputs[name] for name in layers), graph.output])

    def gradient(self, pixels: Float32Array, labels: Any) -> tuple[Float32Array, Float32Array]:
        """Gradient of the log loss.

        Args:
            pixels: float32 array of shape (n, height, width, channels), 0 to 255.
            labels: int array of shape (n,).

        Returns:
            The gradient, in the shape of `pixels`, and the probabilities (n, classes).
        """
        import tensorflow as tf

        images = tf.convert_to_tensor(pixels)
        with tf.GradientTape() as tape:
            tape.watch(images)
            probabilities = self._call(images)[-1]
            own = tf.gather(probabilities, labels, axis=1, batch_dims=1)
            loss = -tf.reduce_sum(tf.math.log(tf.maximum(own, 1e-30)))
        return np.asarray(tape.gradient(loss, images)), np.asarray(probabilities)

    def layer_gradient(
        self, pixels: Float32Array, labels: Any
    ) -> tuple[Float32Array, Float32Array]:
        """Outputs of the first selected layer, and gradient of log p(label) with respect to them.

        Args:
            pixels: float32 array of shape (n, height, width, channels), 0 to 255.
            labels: int array of shape (n,).
        """
        import tensorflow as tf

        images = tf.convert_to_tensor(pixels)
        with tf.GradientTape() as tape:
            tape.watch(images)
            features, *_, probabilities = self._call(images)
            own = tf.gather(probabilities, labels, axis=1, batch_dims=1)
            score = tf.reduce_sum(tf.math.log(tf.maximum(own, 1e-30)))
        return np.asarray(features), np.asarray(tape.gradient(score, features))

    def features(self, images: UInt8Array) -> Float32Array:
        """The outputs of the first selected layer, float32 of shape (n, …)."""
        return np.asarray(self._call(images.astype(np.float32))[0])

    def _call(self, images: Any) -> list[Any]:
        found = self._model(images, training=False)
        return found if isinstance(found, list) else [found]
