"""`cnn`: a convolutional network in the manner of the CIFAR-10 speed records."""

from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from thumbnet.data.dataset import UInt8Array
from thumbnet.models import ModelParameters
from thumbnet.models._layers import standardise

if TYPE_CHECKING:
    import keras

Width = Annotated[int, Field(ge=1, le=4_096)]


class Parameters(ModelParameters):
    """The `[model]` table of a `cnn`.

    A stem of fixed whitening filters over patches of `patch` pixels, `stride` apart; then one
    block for each of `widths`, which halves the picture and holds `convolutions` of 3×3.
    """

    architecture: Literal["cnn"]
    patch: Annotated[int, Field(ge=1, le=8)] = 2
    stride: Annotated[int, Field(ge=1, le=4)] = 1
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=6)] = (32, 96, 128)
    convolutions: Annotated[int, Field(ge=1, le=8)] = 2
    filters: int = 0
    pool: int = 1
    activation: Literal["relu", "gelu", "silu"] = "gelu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def build(parameters: Parameters, train_images: UInt8Array, class_count: int) -> "keras.Model":
    """Build the network; see `thumbnet.models.build_model` for arguments and result."""
    import keras
    from keras import layers

    pixels = keras.Input(train_images.shape[1:], dtype="uint8", name="pixels")
    normalise = standardise(train_images)
    x = normalise(pixels)
    kernel = whitening_kernel(np.asarray(normalise(train_images[:5000])), parameters.patch)
    if parameters.filters:
        kernel = np.concatenate(
            [kernel[..., : parameters.filters // 2], -kernel[..., : parameters.filters // 2]], -1
        )
    else:
        kernel = np.concatenate([kernel, -kernel], -1)
    whiten = layers.Conv2D(
        kernel.shape[-1],
        parameters.patch,
        strides=parameters.stride,
        use_bias=True,
        padding="same" if parameters.stride > 1 else "valid",
        name="whiten",
        trainable=False,
    )
    x = whiten(x)
    whiten.set_weights([kernel, np.zeros(kernel.shape[-1])])
    act = {"gelu": lambda x: keras.activations.gelu(x, approximate=True)}.get(
        parameters.activation, parameters.activation
    )
    x = layers.Activation(act)(x)
    if parameters.pool > 1:
        x = layers.MaxPooling2D(parameters.pool)(x)
    for block, width in enumerate(parameters.widths, start=1):
        for number in range(1, parameters.convolutions + 1):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer=dirac)(x)
            if number == 1:
                x = layers.MaxPooling2D(2)(x)
            x = layers.BatchNormalization(momentum=0.6, scale=False, epsilon=1e-5)(x)
            x = layers.Activation(act)(x)
    x = layers.GlobalMaxPooling2D()(x)
    if parameters.dropout:
        x = layers.Dropout(parameters.dropout)(x)
    logits = layers.Dense(class_count, use_bias=False, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="cnn")


def dirac(shape, dtype=None):
    from keras import initializers

    w = np.asarray(initializers.GlorotUniform(seed=int(np.random.randint(2**31)))(shape)).copy()
    kh, kw, i, o = shape
    n = min(i, o)
    w[..., :n] = 0
    for k in range(n):
        w[kh // 2, kw // 2, k, k] = 1
    return w


def whitening_kernel(images, patch: int):
    """Eigenvectors of the covariance of patches; (patch, patch, channels, patch²·channels)."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (patch, patch), axis=(1, 2))
    windows = np.moveaxis(windows[:, ::patch, ::patch], 3, -1).reshape(
        -1, patch * patch * images.shape[-1]
    )
    covariance = windows.T @ windows / len(windows)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1], vectors[:, ::-1]
    scaled = vectors / np.sqrt(values + 5e-4)
    return scaled.reshape(patch, patch, images.shape[-1], -1).astype(np.float32)
