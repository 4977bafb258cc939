"""`cnn`: a convolutional network in the style of the CIFAR-10 speed records.

The whitening stem, the blocks and the identity initialisation are from Jordan 2024, 94% on CIFAR-10
in 3.29 Seconds on a Single GPU (arXiv 2404.00498).
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from thumbnet.data.dataset import Images
from thumbnet.errors import InputError
from thumbnet.models import ModelParameters
from thumbnet.models.inputs import Float32Array, first_images, standardise, whitening_filters

if TYPE_CHECKING:
    import keras

Width = Annotated[int, Field(ge=1, le=4_096)]

# Enough for a stable estimate of the covariance of patches.
WHITENING_IMAGES = 5_000


class Parameters(ModelParameters):
    """The `[model]` table of a `cnn`.

    The stem is a fixed convolution that whitens patches of `patch`×`patch` pixels: the first
    `filters` filters by explained variance (0 for all of them) and their negatives. Then comes one
    block for each of `widths`, with `convs_per_block` 3×3 convolutions, which halves the image
    after its first convolution; then global max pooling and the logits. With `residual`, a block
    adds the output of its first convolution to that of its last.
    """

    architecture: Literal["cnn"]
    patch: Annotated[int, Field(ge=1, le=8)] = 2
    filters: Annotated[int, Field(ge=0, le=192)] = 0
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=6)] = (32, 64, 128)
    convs_per_block: Annotated[int, Field(ge=1, le=8)] = 2
    activation: Literal["relu", "gelu", "silu"] = "silu"
    residual: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


def build(parameters: Parameters, train_images: Images, class_count: int) -> "keras.Model":
    """Build the network; see `thumbnet.models.build_model` for arguments and result.

    Raises:
        InputError: the images are too small to be halved by every block.
    """
    import keras
    from keras import layers

    from thumbnet.models.winograd import LONGEST_SIDE, WinogradConv2D

    shape = train_images.shape[1:]
    smallest = parameters.patch - 1 + 2 ** len(parameters.widths)
    if min(shape[:2]) < smallest:
        raise InputError(
            f"images of {shape[0]}×{shape[1]} pixels are too small for {len(parameters.widths)} "
            f"blocks, which need at least {smallest}; set fewer model.widths or a larger "
            "--image-size"
        )
    # Of variable size, for progressive resizing.
    pixels = keras.Input((None, None, shape[-1]), dtype="uint8", name="pixels")
    standardised = standardise(train_images)
    x = standardised(pixels)
    whitening = _whitening(
        np.asarray(standardised(first_images(train_images, WHITENING_IMAGES))),
        parameters.patch,
        parameters.filters,
    )
    stem = layers.Conv2D(
        whitening.shape[-1], parameters.patch, use_bias=False, trainable=False, name="whiten"
    )
    x = stem(x)
    stem.set_weights([whitening])
    x = layers.Activation(parameters.activation, name="whiten_activation")(x)
    kind = WinogradConv2D if max(shape[:2]) <= LONGEST_SIDE else layers.Conv2D
    for block, width in enumerate(parameters.widths, start=1):
        x = _block(x, f"block_{block}", width, kind, parameters)
    x = layers.GlobalMaxPooling2D(name="pool")(x)
    if parameters.dropout:
        x = layers.Dropout(parameters.dropout, name="dropout")(x)
    logits = layers.Dense(class_count, use_bias=False, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="cnn")


def _block(x: Any, name: str, width: int, kind: type, parameters: Parameters) -> Any:
    """Convolutions with batch normalisation and activation; max pooling after the first."""
    from keras import layers

    from thumbnet.models.normalization import FusedBatchNormalization

    first = None
    for number in range(1, parameters.convs_per_block + 1):
        unit = f"{name}_{number}"
        convolution = kind(width, 3, padding="same", use_bias=False, name=f"{unit}_convolution")
        x = convolution(x)
        convolution.set_weights([_start_as_identity(*convolution.get_weights())])
        if number == 1:
            x = layers.MaxPooling2D(2, name=f"{unit}_pool")(x)
        # With a few hundred training steps, the running statistics need a low momentum.
        x = FusedBatchNormalization(
            momentum=0.6, scale=False, dtype="float32", name=f"{unit}_norm"
        )(x)
        if parameters.residual and first is not None and number == parameters.convs_per_block:
            x = layers.Add(name=f"{name}_sum")([x, first])
        x = layers.Activation(parameters.activation, name=f"{unit}_activation")(x)
        first = x if first is None else first
    return x


def _whitening(images: Float32Array, patch: int, count: int) -> Float32Array:
    """Filters that whiten the pixels of a patch, and the negatives of those filters.

    Args:
        images: standardised images of shape (n, height, width, channels).
        patch: side of a patch in pixels.
        count: number of filters, in order of explained variance; 0 for all of them.

    Returns:
        Kernel of shape (patch, patch, channels, 2·count).
    """
    channels = images.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(images, (patch, patch), axis=(1, 2))
    patches = np.moveaxis(windows, 3, -1).reshape(-1, patch * patch * channels)
    filters = whitening_filters(patches, count=count or patches.shape[1], floor=5e-4)
    kernel = filters.reshape(patch, patch, channels, -1)
    return np.concatenate([kernel, -kernel], axis=-1)


def _start_as_identity(kernel: Float32Array) -> Float32Array:
    """Set the first filters of a kernel (height, width, inputs, outputs) to the identity."""
    height, width, inputs, outputs = kernel.shape
    passed = np.arange(min(inputs, outputs))
    kernel = kernel.copy()
    kernel[..., passed] = 0
    kernel[height // 2, width // 2, passed, passed] = 1
    return kernel
