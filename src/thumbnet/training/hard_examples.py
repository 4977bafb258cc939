"""The loss of each image of a batch, which the training step otherwise averages away."""

from typing import TYPE_CHECKING, Any

from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras

NAME = "image_losses"


def image_losses(size: int) -> "keras.metrics.Metric":
    """A metric whose result is a vector: the cross-entropy of each image of the last batch.

    Args:
        size: the batch size; after a smaller batch, the remaining values are meaningless.

    Returns:
        A metric over one-hot labels and logits, both of shape (n, classes), with a result of
        shape (size,), float32.
    """
    keras = prepare_keras()

    class ImageLosses(keras.metrics.Metric):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(name=NAME)
            self._losses = self.add_variable((size,), "zeros", name="losses")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            losses = keras.losses.categorical_crossentropy(y_true, y_pred, from_logits=True)
            before = keras.ops.convert_to_tensor(self._losses)
            self._losses.assign(keras.ops.slice_update(before, (0,), losses[:size]))

        def result(self) -> Any:
            return keras.ops.convert_to_tensor(self._losses)

    return ImageLosses()
