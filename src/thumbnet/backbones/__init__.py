"""Networks trained on ImageNet, to start from: plain Keras layers and where their weights are.

`efficientnet_lite0` comes as a Python package, the others are downloaded by Keras.
"""

from typing import Any, Literal, get_args

BackboneName = Literal["efficientnet_lite0", "mobilenet_v2", "efficientnet_v2_b0"]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)

SMALLEST_SIDE = 32
"""Pixels that a side needs, as every backbone halves the image five times."""


def build_trunk(name: BackboneName, pixels: Any) -> Any:
    """The network without its classifier, with random weights; it normalises pixels itself.

    Args:
        name: of the backbone.
        pixels: a Keras tensor of shape (n, height, width, 3), uint8.

    Returns:
        A Keras tensor of shape (n, height / 32, width / 32, channels).
    """
    if name == "efficientnet_lite0":
        from thumbnet.backbones import efficientnet_lite

        return efficientnet_lite.build_trunk(pixels)
    from thumbnet.backbones import applications

    return applications.build_trunk(name, pixels)


def load_imagenet_weights(name: BackboneName, model: Any) -> None:
    """Give the layers of a model that `build_trunk` made the weights trained on ImageNet.

    Raises:
        InputError: the package that holds them is not installed.
        JobError: they cannot be downloaded.
    """
    if name == "efficientnet_lite0":
        from thumbnet.backbones import efficientnet_lite

        efficientnet_lite.load_weights(model)
    else:
        from thumbnet.backbones import applications

        applications.load_weights(name, model)


def is_at_hand(name: BackboneName) -> bool:
    """Whether the weights are installed, or were downloaded before."""
    if name == "efficientnet_lite0":
        from thumbnet.backbones import efficientnet_lite

        return efficientnet_lite.is_installed()
    from thumbnet.backbones import applications

    return applications.is_downloaded(name)
