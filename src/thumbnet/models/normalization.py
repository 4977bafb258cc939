"""Batch normalisation in one pass over the numbers, where the backend has such an operation."""

from typing import Any

from thumbnet.runtime import backend, prepare_keras

keras = prepare_keras()


@keras.saving.register_keras_serializable(package="thumbnet")
class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc, name-defined]
    """What `keras.layers.BatchNormalization` computes over the last axis.

    In training Keras 3 puts it together from means, products and sums, each of which goes through
    memory by itself; TensorFlow has one operation for it and one for its gradient, with which a
    narrow network trains up to a seventh faster. The weights are those of Keras's own layer, so
    that it can take the place of this one when the model is saved.
    """

    # What Keras alone can open; it takes the same configuration.
    plain = keras.layers.BatchNormalization

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # What comes in 16 bits is normalised in 16, by statistics and weights that stay in 32.
        self.autocast = False

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise a batch of shape (n, height, width, channels), or (n, channels)."""
        fusible = backend() == "tensorflow" and len(inputs.shape) == 4 and not self.scale
        if not (training and fusible):
            outputs = super().call(inputs, training=training, mask=mask)
            return keras.ops.cast(outputs, inputs.dtype)
        from tensorflow import raw_ops

        outputs, mean, variance, *_ = raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=keras.ops.ones_like(self.beta),
            offset=self.beta,
            mean=[],
            variance=[],
            epsilon=self.epsilon,
            is_training=True,
        )
        for running, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(self.momentum * running + (1 - self.momentum) * of_batch)
        return outputs
