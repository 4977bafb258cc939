"""`ann`: a fully connected network on the flattened pixels."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from thumbnet.data.dataset import UInt8Array
from thumbnet.models import ModelParameters
from thumbnet.models._layers import standardise

if TYPE_CHECKING:
    import keras

Width = Annotated[int, Field(ge=1, le=16_384)]


class Parameters(ModelParameters):
    """The `[model]` table of an `ann`.

    Each hidden layer is dense, batch-normalised, activated, and dropped out.
    """

    architecture: Literal["ann"]
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=32)] = (1024, 512, 256)
    activation: Literal["relu", "gelu", "silu"] = "gelu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def build(parameters: Parameters, train_images: UInt8Array, class_count: int) -> "keras.Model":
    """Build the network; see `thumbnet.models.build_model` for arguments and result."""
    import keras
    from keras import layers

    pixels = keras.Input(train_images.shape[1:], dtype="uint8", name="pixels")
    x = standardise(train_images)(pixels)
    x = layers.Flatten(name="flatten")(x)
    for number, width in enumerate(parameters.widths, start=1):
        x = layers.Dense(width, use_bias=False, name=f"dense_{number}")(x)
        x = layers.BatchNormalization(name=f"norm_{number}")(x)
        x = layers.Activation(parameters.activation, name=f"activation_{number}")(x)
        if parameters.dropout:
            x = layers.Dropout(parameters.dropout, name=f"dropout_{number}")(x)
    logits = layers.Dense(class_count, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="ann")
