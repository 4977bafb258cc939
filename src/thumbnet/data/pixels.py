"""Images of any kind of array as uint8 pixels, where it is clear what the numbers mean."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.data.stored import UInt8Array, chunk_length
from thumbnet.errors import InputError

Array = npt.NDArray[Any]


def as_pixels(images: Mapping[str, object]) -> tuple[dict[str, UInt8Array], tuple[str, ...]]:
    """Images as uint8 arrays of shape (n, height, width, 1 or 3).

    Numbers that run from 0 to 255 are taken as they are; floating-point numbers from 0 to 1, and
    False and True, become 0 to 255.

    Args:
        images: arrays, or nested lists, of shape (n, height, width) or (n, height, width, 1 or 3),
            by what to call them in messages.

    Returns:
        The arrays by the same names, and what was converted, in words.

    Raises:
        InputError: the shape or the range of the numbers leaves open what is meant, or the arrays
            differ in shape or range.
    """
    arrays = {
        title: _with_channels(_as_array(value, title), title) for title, value in images.items()
    }
    shapes = {title: array.shape[1:] for title, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        described = ", ".join(f"{shape} of {title}" for title, shape in shapes.items())
        raise InputError(f"the images have different shapes ({described}); they must be equal")
    scales = {title: _scale(array, title) for title, array in arrays.items()}
    if len(set(scales.values())) > 1:
        described = " and ".join(f"{title} from 0 to {255 // scales[title]}" for title in arrays)
        raise InputError(f"the images have different ranges: {described}; give all in the same")
    said = ("numbers from 0 to 1 became 0 to 255",) if 255 in scales.values() else ()
    return {title: _scaled(array, scales[title]) for title, array in arrays.items()}, said


def _as_array(value: object, title: str) -> Array:
    try:
        array = np.asarray(value)
        if array.dtype == object:
            array = np.stack([np.asarray(image) for image in array])
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{title} cannot be made an array: {error}; images must have one shape, and be numbers"
        ) from error
    if array.dtype.kind not in "buif":
        raise InputError(
            f"{title} holds {array.dtype}, which are no pixels; for files of pictures, use "
            "thumbnet.load"
        )
    return array


def _with_channels(array: Array, title: str) -> Array:
    shape = array.shape
    if 0 in shape:
        raise InputError(f"{title} has the shape {shape}: it holds no image")
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and shape[3] in (1, 3):
        return array
    raise InputError(
        f"{title} has the shape {shape}; images must have (n, height, width), or (n, height, "
        f"width, 1 or 3){_remedy(shape)}"
    )


def _remedy(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and shape[1] in (1, 3):
        return ": move the channels with .transpose(0, 2, 3, 1)"
    if len(shape) == 4 and shape[3] in (2, 4):
        return f": leave the transparency out with [..., :{shape[3] - 1}]"
    if len(shape) == 2:
        for channels in (1, 3):
            side = math.isqrt(shape[1] // channels)
            if side * side * channels == shape[1]:
                order = f"{side}, {side}" if channels == 1 else f"{side}, {side}, 3"
                return f": if each row is an image, .reshape(-1, {order}) or as it was flattened"
    return ""


def _scale(array: Array, title: str) -> int:
    """What to multiply by: 1 or 255."""
    if array.dtype == bool:
        return 255
    low, high, whole = math.inf, -math.inf, True
    for some in _chunks(array):
        low, high = min(low, float(some.min())), max(high, float(some.max()))
        whole = whole and (array.dtype.kind != "f" or bool((some == np.floor(some)).all()))
    is_float = array.dtype.kind == "f"
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{title} holds NaN or infinite values; replace them")
    if low >= 0 and high <= 1 and is_float:
        return 255
    if low >= 0 and high == 1:
        raise InputError(
            f"{title} is {array.dtype} with 0 and 1 alone, which leaves open whether 1 is white or "
            "nearly black; multiply it by 255 if it is white"
        )
    if low >= 0 and high <= 255 and whole:
        return 1
    between = "" if whole else ", with values between whole numbers"
    raise InputError(
        f"{title} is {array.dtype} from {low:g} to {high:g}{between}; pixels must be whole numbers "
        "from 0 to 255, or floating-point numbers from 0 to 1"
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
