"""Networks pretrained on ImageNet, for fine-tuning: plain Keras layers and their weights.

The weights of `efficientnet_lite0` come as a Python package; Keras downloads the others.
"""

from typing import Any, Literal, get_args

BackboneName = Literal["efficientnet_lite0", "mobilenet_v2", "efficientnet_v2_b0"]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)

SMALLEST_SIDE = 32
"""Minimum side of an image in pixels: every backbone halves the image five times."""


def build_trunk(name: BackboneName, pixels: Any) -> Any:
    """The network without its classifier, with random weights; it includes normalisation.

    Args:
        name: name of the backbone.
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
    """Set the layers of a model from `build_trunk` to the weights trained on ImageNet.

    Raises:
        InputError: the package that contains them is not installed.
        JobError: they cannot be downloaded.
    """
    if name == "efficientnet_lite0":
        from thumbnet.backbones import efficientnet_lite

        efficientnet_lite.load_weights(model)
    else:
        from thumbnet.backbones import applications

        applications.load_weights(name, model)


def is_at_hand(name: BackboneName) -> bool:
    """Whether the weights are installed or already downloaded."""
    if name == "efficientnet_lite0":
        from thumbnet.backbones import efficientnet_lite

        return efficientnet_lite.is_installed()
    from thumbnet.backbones import applications

    return applications.is_downloaded(name)
