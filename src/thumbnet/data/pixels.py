"""Converting arrays of any dtype to uint8 pixels, if the meaning of the values is clear."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.data.stored import UInt8Array, chunk_length
from thumbnet.errors import InputError

Array = npt.NDArray[Any]


def as_pixels(images: Mapping[str, object]) -> tuple[dict[str, UInt8Array], tuple[str, ...]]:
    """Convert images to uint8 arrays of shape (n, height, width, 1 or 3).

    Values from 0 to 255 are used as they are; floating-point values from 0 to 1 and booleans are
    scaled to 0 to 255.

    Args:
        images: arrays or nested lists of shape (n, height, width) or (n, height, width, 1 or 3),
            by their names for messages.

    Returns:
        The arrays by the same names, and descriptions of what was converted.

    Raises:
        InputError: the shape or the range of the values is ambiguous, or the arrays differ in
            shape or range.
    """
    arrays = {
        title: _with_channels(_as_array(value, title), title) for title, value in images.items()
    }
    shapes = {title: array.shape[1:] for title, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        described = ", ".join(f"{shape} of {title}" for title, shape in shapes.items())
        raise InputError(f"the images have different shapes ({described}); they must be the same")
    scales = {title: _scale(array, title) for title, array in arrays.items()}
    if len(set(scales.values())) > 1:
        described = " and ".join(f"{title} from 0 to {255 // scales[title]}" for title in arrays)
        raise InputError(
            f"the images have different value ranges: {described}; scale them to the same range"
        )
    said = ("values from 0 to 1 were scaled to 0 to 255",) if 255 in scales.values() else ()
    return {title: _scaled(array, scales[title]) for title, array in arrays.items()}, said


def _as_array(value: object, title: str) -> Array:
    try:
        array = np.asarray(value)
        if array.dtype == object:
            array = np.stack([np.asarray(image) for image in array])
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{title} cannot be converted to an array: {error}; images must be numbers and all "
            "have the same shape"
        ) from error
    if array.dtype.kind not in "buif":
        raise InputError(
            f"{title} has dtype {array.dtype}, which is not numeric; to load image files, use "
            "thumbnet.load"
        )
    return array


def _with_channels(array: Array, title: str) -> Array:
    shape = array.shape
    if 0 in shape:
        raise InputError(f"{title} has shape {shape}: it contains no images")
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and shape[3] in (1, 3):
        return array
    raise InputError(
        f"{title} has shape {shape}; images must have shape (n, height, width) or (n, height, "
        f"width, 1 or 3){_remedy(shape)}"
    )


def _remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and shape[1] in (1, 3):
        return "; move the channels with .transpose(0, 2, 3, 1)"
    if len(shape) == 4 and shape[3] in (2, 4):
        return f"; drop the alpha channel with [..., :{shape[3] - 1}]"
    if len(shape) == 2:
        for channels in (1, 3):
            side = math.isqrt(shape[1] // channels)
            if side * side * channels == shape[1]:
                order = f"{side}, {side}" if channels == 1 else f"{side}, {side}, 3"
                return f"; if each row is a flattened image, use .reshape(-1, {order})"
    return ""


def _scale(array: Array, title: str) -> int:
    """The factor that scales the values to 0 to 255: 1 or 255."""
    if array.dtype == bool:
        return 255
    low, high, whole = math.inf, -math.inf, True
    for some in _chunks(array):
        low, high = min(low, float(some.min())), max(high, float(some.max()))
        whole = whole and (array.dtype.kind != "f" or bool((some == np.floor(some)).all()))
    is_float = array.dtype.kind == "f"
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{title} contains NaN or infinite values; replace them")
    if low >= 0 and high <= 1 and is_float:
        return 255
    if low >= 0 and high == 1:
        raise InputError(
            f"{title} has dtype {array.dtype} with only the values 0 and 1, so 1 could mean white "
            "or nearly black; multiply by 255 if it means white"
        )
    if low >= 0 and high <= 255 and whole:
        return 1
    between = "" if whole else ", including fractions"
    raise InputError(
        f"{title} has dtype {array.dtype} with values from {low:g} to {high:g}{between}; pixels "
        "must be whole numbers from 0 to 255, or floating-point numbers from 0 to 1"
    )


def _scaled(array: Array, scale: int) -> UInt8Array:
    if array.dtype == np.uint8:
        return array
    pixels = np.empty(array.shape, np.uint8)
    start = 0
    for some in _chunks(array):
        scaled = some if scale == 1 else np.rint(np.asarray(some, np.float32) * scale)
        pixels[start : start + len(some)] = scaled
        start += len(some)
    return pixels


def _chunks(array: Array) -> Iterator[Array]:
    at_a_time = chunk_length(array.shape)
    for start in range(0, len(array), at_a_time):
        yield array[start : start + at_a_time]
