"""Attribution: which pixels a prediction depends on, by Grad-CAM and integrated gradients."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from thumbnet.data.dataset import Int64Array, UInt8Array
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.interpretation.differentiable import DifferentiableModel

if TYPE_CHECKING:
    import keras

STEPS = 32
BASELINE = 127.5  # mid-grey
SMOOTHING = 1 / 16  # std of the Gaussian, as a fraction of the side: 2 pixels of 32


def last_convolution(model: "keras.Model") -> str | None:
    """Name of the last layer whose output is a feature map; None if there is none.

    Only outputs after a convolution count; a rescaled image is not a feature map.
    """
    name, convolved = None, False
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        convolved = convolved or (kernel is not None and len(kernel.shape) == 4)
        if convolved and len(layer.output.shape) == 4:
            name = layer.name
    return name


def grad_cam(
    model: "keras.Model", images: UInt8Array, labels: Int64Array
) -> npt.NDArray[np.float64] | None:
    """Grad-CAM: where the last feature maps support a class.

    The maps are weighted by the mean gradient of log p(class) and summed; negative values are set
    to zero, and the result is upsampled bilinearly to the size of the image.

    Source: Selvaraju et al., Grad-CAM, 2017 (arXiv 1610.02391).

    Args:
        model: from uint8 pixels to probabilities.
        images: uint8 array of shape (n, height, width, channels).
        labels: int64 array of shape (n,), the class to explain for each image.

    Returns:
        float64 array of shape (n, height, width), scaled to 0–1 in each image; None for a model
        without convolutions.
    """
    layer = last_convolution(model)
    if layer is None:
        return None
    differentiable = DifferentiableModel(model, [layer])
    features, gradient = differentiable.layer_gradient(images.astype(np.float32), labels)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    maps = np.maximum((features * weights).sum(axis=-1), 0)
    zoom = (
        1,
        *(full / small for full, small in zip(images.shape[1:3], maps.shape[1:], strict=True)),
    )
    large = ndimage.zoom(maps.astype(np.float64), zoom, order=1, mode="nearest", grid_mode=True)
    return _scaled(large)


def integrated_gradients(
    model: "keras.Model", images: UInt8Array, labels: Int64Array
) -> npt.NDArray[np.float64]:
    """Integrated gradients of log p(class), with a grey image as the baseline.

    The values of an image sum to log p(class | image) - log p(class | grey), up to the error of
    the midpoint rule with `STEPS` steps.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, 2017 (arXiv 1703.01365).

    Args:
        model: from uint8 pixels to probabilities.
        images: uint8 array of shape (n, height, width, channels).
        labels: int64 array of shape (n,), the class to explain for each image.

    Returns:
        float64 array of shape (n, height, width), summed over channels.
    """
    differentiable = DifferentiableModel(model)
    from_grey = images.astype(np.float32) - BASELINE
    total = np.zeros(images.shape, np.float64)
    for step in range(STEPS):
        position = (step + 0.5) / STEPS
        interpolated: Float32Array = (BASELINE + position * from_grey).astype(np.float32)
        gradient, _ = differentiable.gradient(interpolated, labels)
        total -= gradient  # the loss is -log p
    attributions: npt.NDArray[np.float64] = (total * from_grey / STEPS).sum(axis=-1)
    return attributions


def smoothed_support(attributions: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A smoothed map of where integrated gradients support the prediction.

    Single pixels are noisy, and averages over a neighbourhood are more meaningful. Pixels that
    oppose the prediction are set to 0, so that the map can be read like Grad-CAM.

    Args:
        attributions: float64 array of shape (n, height, width).

    Returns:
        float64 array of that shape, scaled to 0–1 in each image.
    """
    sigma = SMOOTHING * min(attributions.shape[1:])
    smooth = ndimage.gaussian_filter(attributions, (0, sigma, sigma), mode="nearest")
    return _scaled(np.maximum(smooth, 0))


def _scaled(maps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Maps divided by their maximum; a map of zeros is unchanged."""
    highest = maps.max(axis=(1, 2), keepdims=True)
    scaled: npt.NDArray[np.float64] = np.divide(
        maps, highest, out=np.zeros_like(maps), where=highest > 0
    )
    return scaled


def first_layer_images(model: "keras.Model", count: int = 48) -> UInt8Array | None:
    """The filters of the first layer, as images.

    For a convolutional model, the kernel of the first convolution. For a fully connected one, the
    weights from the (possibly shrunk) pixels to the first hidden layer, multiplied with the fixed
    linear layers before it. Each image is scaled to the full range, with grey for 0.

    Args:
        model: from uint8 pixels to probabilities.
        count: number of filters, in order of decreasing norm.

    Returns:
        uint8 array of shape (up to count, height, width, channels); None if the first layer with
        weights is neither.
    """
    shape: tuple[int, ...] = tuple(model.input_shape[1:])
    weights: Any = None
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            linear = type(layer).__name__ in ("InputLayer", "Normalization", "AveragePooling2D")
            if linear:
                shape = tuple(layer.output.shape[1:])
            elif type(layer).__name__ != "Flatten":
                break
        elif len(kernel.shape) == 4 and weights is None:
            return _as_images(np.moveaxis(np.asarray(kernel), -1, 0), count)
        elif len(kernel.shape) == 2:
            matrix = np.asarray(kernel)
            weights = matrix if weights is None else weights @ matrix
    if weights is None or len(weights) != np.prod(shape):
        return None
    return _as_images(weights.T.reshape(-1, *shape), count)


def _as_images(weights: npt.NDArray[Any], count: int) -> UInt8Array | None:
    if weights.shape[-1] not in (1, 3):
        return None
    order = np.argsort(-(weights**2).sum(axis=(1, 2, 3)), kind="stable")[:count]
    chosen = weights[order]
    largest = np.abs(chosen).max(axis=(1, 2, 3), keepdims=True)
    images: UInt8Array = np.round(127.5 + 127.5 * chosen / np.maximum(largest, 1e-12)).astype(
        np.uint8
    )
    return images
