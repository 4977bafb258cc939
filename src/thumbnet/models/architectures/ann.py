"""`ann`: a fully connected network (MLP) on the flattened pixels."""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from thumbnet.data.dataset import Images
from thumbnet.errors import InputError
from thumbnet.models import ModelParameters
from thumbnet.models.inputs import first_images, standardise, whitening_filters

if TYPE_CHECKING:
    import keras

# Enough for a few hundred components; more would take seconds and change little.
WHITENING_IMAGES = 10_000
# Variance of standardised pixels; keeps weak components weaker than strong ones.
WHITENING_FLOOR = 0.3

Width = Annotated[int, Field(ge=1, le=16_384)]


class Parameters(ModelParameters):
    """The `[model]` table of an `ann`.

    Average pooling shrinks the image by a factor of `shrink`. A fixed dense layer then projects it
    onto its first `pca_components` whitened principal components, so that the first hidden layer
    needs a tenth of the FLOP of one on the pixels. With `shrink` 1 and `pca_components` 0, the
    first hidden layer takes the pixels. Each hidden layer consists of a dense layer, batch
    normalisation, activation and dropout.
    """

    architecture: Literal["ann"]
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=32)] = (1024, 512, 256)
    activation: Literal["relu", "gelu", "silu"] = "gelu"
    shrink: Annotated[int, Field(ge=1, le=8)] = 1
    pca_components: Annotated[int, Field(ge=0, le=16_384)] = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def build(parameters: Parameters, train_images: Images, class_count: int) -> "keras.Model":
    """Build the network; see `thumbnet.models.build_model` for arguments and result.

    Raises:
        InputError: the images are smaller than `shrink`.
    """
    import keras
    from keras import layers

    if min(train_images.shape[1:3]) < parameters.shrink:
        raise InputError(
            f"images of {train_images.shape[1]}×{train_images.shape[2]} pixels cannot be shrunk "
            f"by a factor of {parameters.shrink}; set a smaller model.shrink or a larger "
            "--image-size"
        )
    pixels = keras.Input(train_images.shape[1:], dtype="uint8", name="pixels")
    x = standardise(train_images)(pixels)
    if parameters.shrink > 1:
        x = layers.AveragePooling2D(parameters.shrink, name="shrink")(x)
    x = layers.Flatten(name="flatten")(x)
    if parameters.pca_components:
        values = keras.Model(pixels, x)(first_images(train_images, WHITENING_IMAGES))
        vectors = np.asarray(values).astype(np.float32)
        filters = whitening_filters(vectors, parameters.pca_components, WHITENING_FLOOR)
        whiten = layers.Dense(filters.shape[1], use_bias=False, trainable=False, name="whiten")
        x = whiten(x)
        whiten.set_weights([filters])
    for number, width in enumerate(parameters.widths, start=1):
        x = layers.Dense(width, use_bias=False, name=f"dense_{number}")(x)
        # With a few hundred training steps, the running statistics need a low momentum.
        x = layers.BatchNormalization(
            momentum=0.9, scale=False, dtype="float32", name=f"norm_{number}"
        )(x)
        x = layers.Activation(parameters.activation, name=f"activation_{number}")(x)
        if parameters.dropout:
            x = layers.Dropout(parameters.dropout, name=f"dropout_{number}")(x)
    logits = layers.Dense(class_count, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="ann")
