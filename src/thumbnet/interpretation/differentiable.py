"""Gradients of a run's model with respect to its pixels, through the TensorFlow backend.

The model takes uint8, which has no gradient: its input is put in its place as float32, and the
same layers, with the same weights, are called from there.
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
    """A model from float pixels, 0 to 255, to probabilities and to the outputs of chosen layers."""

    def __init__(self, model: "keras.Model", layers: Sequence[str] = ()) -> None:
        """Rebuild `model` on float pixels.

        Args:
            model: from uint8 pixels to probabilities, as a run saves it.
            layers: names of layers whose outputs are wanted beside the probabilities.

        Raises:
            JobError: Keras runs on another backend than TensorFlow.
        """
        if os.environ["KERAS_BACKEND"] != "tensorflow":
            raise JobError(
                "gradients are taken through TensorFlow; set KERAS_BACKEND=tensorflow and try again"
            )
        keras = prepare_keras()
        pixels = keras.Input(model.input_shape[1:], dtype="float32", name="float_pixels")
        # Called as a whole, the model would cast its input to uint8 again; layer by layer it does
        # not. The layers, and with them the weights, stay the same ones.
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
            The gradient, of the shape of `pixels`, and the probabilities (n, classes).
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
        """The outputs of the first chosen layer, and the gradient of log p(label) by them."""
        import tensorflow as tf

        images = tf.convert_to_tensor(pixels)
        with tf.GradientTape() as tape:
            tape.watch(images)
            features, *_, probabilities = self._call(images)
            own = tf.gather(probabilities, labels, axis=1, batch_dims=1)
            score = tf.reduce_sum(tf.math.log(tf.maximum(own, 1e-30)))
        return np.asarray(features), np.asarray(tape.gradient(score, features))

    def features(self, images: UInt8Array) -> Float32Array:
        """The outputs of the first chosen layer, float32 of shape (n, …)."""
        return np.asarray(self._call(images.astype(np.float32))[0])

    def _call(self, images: Any) -> list[Any]:
        found = self._model(images, training=False)
        return found if isinstance(found, list) else [found]
