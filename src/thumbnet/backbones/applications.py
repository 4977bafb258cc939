"""Backbones of `keras.applications`, whose weights Keras downloads and checks."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.errors import JobError
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    from thumbnet.backbones import BackboneName

# The builder in `keras.applications`, and the file that it downloads.
_KNOWN = {
    "efficientnet_v2_b0": ("EfficientNetV2B0", "efficientnetv2-b0_notop.h5"),
    "mobilenet_v2": (
        "MobileNetV2",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    ),
}


def build_trunk(name: "BackboneName", pixels: Any) -> Any:
    """The network without its classifier, with random weights; see `thumbnet.backbones`."""
    if name == "mobilenet_v2":  # the only one of these without its own normalisation
        from keras import layers

        pixels = layers.Rescaling(1 / 127.5, -1, dtype="float32", name="rescale")(pixels)
    return _application(name, None, pixels).output


def load_weights(name: "BackboneName", model: Any) -> None:
    """Set the layers of a model to the weights that Keras downloads.

    Raises:
        JobError: they cannot be downloaded, or do not have the hash that Keras expects.
    """
    try:
        trained = _application(name, "imagenet", None)
    # Keras passes on any exception of urllib, h5py and its own hash check.
    except Exception as error:
        raise JobError(
            f"the weights of {name} cannot be downloaded: {error!s:.200}; check the network "
            "connection and try again, or use a different backbone"
        ) from error
    for layer in trained.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())


def is_downloaded(name: "BackboneName") -> bool:
    """Whether Keras has already downloaded the weights."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))  # as Keras does
    return (home / "models" / _KNOWN[name][1]).is_file()


def _application(name: "BackboneName", weights: str | None, pixels: Any) -> Any:
    keras = prepare_keras()
    builder = getattr(keras.applications, _KNOWN[name][0])
    shape = {"input_tensor": pixels} if pixels is not None else {"input_shape": (224, 224, 3)}
    return builder(include_top=False, weights=weights, **shape)
