"""Training on a batch in parts that run side by side, each normalised by itself."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras


def in_parts(model: "keras.Model", parts: int) -> "keras.Model":
    """The same layers and weights, in a model that cuts the batches it is trained on.

    The parts do not wait for one another, so that each can keep a core busy by itself: on two
    cores two parts train a narrow network about a fifth faster than two threads that share every
    operation. Batch normalisation takes each part for a batch of its own, which is known to do
    no harm while the parts are not small (Hoffer et al. 2017, arXiv 1705.08741).

    Args:
        model: from images to logits, not yet trained.
        parts: how many of them; a batch that does not divide has larger parts at its end.
    """
    if parts == 1:
        return model
    keras = prepare_keras()

    class InParts(keras.Model):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=training, mask=mask)
            size = keras.ops.shape(inputs)[0]
            ends = [size * part // parts for part in range(parts + 1)]
            return keras.ops.concatenate(
                [
                    super(InParts, self).call(inputs[start:end], training=True, mask=mask)
                    for start, end in pairwise(ends)
                ]
            )

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Its running statistics are moved so many times in a step.
            layer.momentum **= 1 / parts
    return InParts(model.inputs[0], model.outputs[0], name=model.name)
