"""`ann`: a fully connected network on the flattened pixels."""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from thumbnet.data.dataset import UInt8Array
from thumbnet.errors import InputError
from thumbnet.models import ModelParameters
from thumbnet.models._layers import standardise, whitening_filters

if TYPE_CHECKING:
    import keras

# Enough for a few hundred components; more would cost seconds and change little.
WHITENING_IMAGES = 20_000

Width = Annotated[int, Field(ge=1, le=16_384)]


class Parameters(ModelParameters):
    """The `[model]` table of an `ann`.

    The pixels are first taken to their `components` main directions, each scaled to the same
    size, by a dense layer that is fixed: a hidden layer on top of it needs a tenth of the
    arithmetic that one on the pixels does. 0 leaves it out. Each hidden layer is dense,
    batch-normalised, activated, and dropped out.
    """

    architecture: Literal["ann"]
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=32)] = (1024, 512, 256)
    activation: Literal["relu", "gelu", "silu"] = "gelu"
    components: Annotated[int, Field(ge=0, le=16_384)] = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def build(parameters: Parameters, train_images: UInt8Array, class_count: int) -> "keras.Model":
    """Build the network; see `thumbnet.models.build_model` for arguments and result.

    Raises:
        InputError: more components are asked for than a picture has values.
    """
    import keras
    from keras import layers

    pixels = keras.Input(train_images.shape[1:], dtype="uint8", name="pixels")
    standardised = standardise(train_images)
    x = layers.Flatten(name="flatten")(standardised(pixels))
    if parameters.components:
        sample = np.asarray(standardised(train_images[:WHITENING_IMAGES]))
        vectors = sample.reshape(len(sample), -1)
        if parameters.components > vectors.shape[1]:
            raise InputError(
                f"model.components is {parameters.components}; images of {vectors.shape[1]} values "
                "have no more components than that"
            )
        filters = whitening_filters(vectors, parameters.components, floor=0.3)
        whiten = layers.Dense(parameters.components, use_bias=False, trainable=False, name="whiten")
        x = whiten(x)
        whiten.set_weights([filters])
    for number, width in enumerate(parameters.widths, start=1):
        x = layers.Dense(width, use_bias=False, name=f"dense_{number}")(x)
        x = layers.BatchNormalization(name=f"norm_{number}")(x)
        x = layers.Activation(parameters.activation, name=f"activation_{number}")(x)
        if parameters.dropout:
            x = layers.Dropout(parameters.dropout, name=f"dropout_{number}")(x)
    logits = layers.Dense(class_count, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="ann")
