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

    `trainable` selects the layers to train: all but batch normalisation, those of the top third
    (which saves two thirds of the backward pass), or only the logits. `start.weights` names the
    weights to start from.
    """

    architecture: Literal["backbone"]
    name: BackboneName = "efficientnet_lite0"
    trainable: Literal["all", "top", "head"] = "all"
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
    trained = _trained_layers(trunk, parameters.trainable)
    for layer in trunk.layers:
        # The statistics of ImageNet's millions of images are better than those of a few hundred.
        layer.trainable = layer.name in trained and not isinstance(layer, layers.BatchNormalization)
    x = layers.GlobalAveragePooling2D(name="pool")(trunk.output)
    if parameters.dropout:
        x = layers.Dropout(parameters.dropout, name="dropout")(x)
    logits = layers.Dense(class_count, dtype="float32", name="logits")(x)
    return keras.Model(pixels, logits, name="backbone")


def _trained_layers(trunk: "keras.Model", trainable: Literal["all", "top", "head"]) -> set[str]:
    """Names of the layers of a trunk that training may change."""
    names = [layer.name for layer in trunk.layers if layer.weights]
    kept = {"all": 0.0, "top": 2 / 3, "head": 1.0}[trainable]
    return set(names[round(kept * len(names)) :])
