"""Ghost batch normalisation: parts of a batch run in parallel, each normalised separately."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras


def with_ghost_batches(model: "keras.Model", count: int) -> "keras.Model":
    """The same layers and weights, in a model that splits each training batch into ghost batches.

    Ghost batches run independently, so each can keep one core busy: on two cores, two of them
    train a narrow network about 20% faster than two threads that share every operation.
    Batch statistics are those of each ghost batch, which is harmless unless they are small
    (Hoffer et al. 2017, arXiv 1705.08741).

    Args:
        model: from images to logits, not yet trained.
        count: number of ghost batches; if a batch does not divide evenly, the last are larger.
    """
    if count == 1:
        return model
    keras = prepare_keras()

    class GhostBatchModel(keras.Model):  # type: ignore[misc, name-defined]
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=training, mask=mask)
            size = keras.ops.shape(inputs)[0]
            ends = [size * part // count for part in range(count + 1)]
            return keras.ops.concatenate(
                [
                    super(GhostBatchModel, self).call(inputs[start:end], training=True, mask=mask)
                    for start, end in pairwise(ends)
                ]
            )

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # The running statistics are updated once for each ghost batch.
            layer.momentum **= 1 / count
    return GhostBatchModel(model.inputs[0], model.outputs[0], name=model.name)
