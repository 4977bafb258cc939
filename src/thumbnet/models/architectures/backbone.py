"""`backbone`: a network that was trained on ImageNet, with logits for other classes."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from thumbnet.backbones import SMALLEST_SIDE, BackboneName, build_trunk
from thumbnet.data.dataset import Images
from thumbnet.errors import InputError
from thumbnet.models import ModelParameters

if TYPE_CHECKING:
    import keras


class Parameters(ModelParameters):
    """The `[model]` table of a `backbone`.

    `trainable` says what training changes: every layer but batch normalisation, or only the
    logits. The weights to start from are named by `start.weights`.
    """

    architecture: Literal["backbone"]
    name: BackboneName = "efficientnet_lite0"
    trainable: Literal["all", "head"] = "all"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


def build(parameters: Parameters, train_images: Images, class_count: int) -> "keras.Model":
    """Build the network; see `thumbnet.models.build_model` for arguments and result.

    Raises:
        InputError: the images are too small, or have another number of channels than 1 or 3.
    """
    import keras
    from keras import layers

    height, width, channels = train_images.shape[1:]
    if min(height, width) < SMALLEST_SIDE or channels not in (1, 3):
        raise InputError(
            f"{parameters.name} needs images of {SMALLEST_SIDE}×{SMALLEST_SIDE} pixels or more "
            f"with 1 or 3 channels, not {height}×{width}×{channels}; give a larger --image-size"
        )
    pixels = keras.Input((None, None, channels), dtype="uint8", name="pixels")
    # The backbone takes colour; a grey image has the same value in each channel.
    color = layers.Concatenate(name="color")([pixels] * 3) if channels == 1 else pixels
    trunk = keras.Model(pixels, build_trunk(parameters.name, color))
    for layer in trunk.layers:
        # The statistics of ImageNet's millions of images are better than those of a few hundred.
        fixed = isinstance(layer, layers.BatchNormalization) or parameters.trainable == "head"
        layer.trainable = not fixed
    x = layers.GlobalAveragePooling2D(name="pool")(trunk.output)
    if parameters.dropout:
        x = layers.Dropout(parameters.dropout, name="dropout")(x)
    logits = layers.Dense(class_count, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="backbone")
