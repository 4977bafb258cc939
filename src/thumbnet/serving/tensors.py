"""Images as the tensors of a protocol."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from thumbnet.data.stored import UInt8Array
from thumbnet.serving.problems import RequestError

INPUT, OUTPUT = "images", "probabilities"
_MOST_DIMENSIONS = 8


def images_of_values(values: Any) -> UInt8Array:
    """Nested lists of whole numbers as uint8 images of any shape.

    If one value is a string, NumPy allocates its length for every element, and 64 KiB of JSON
    become a gigabyte; so anything but numbers is refused first.

    Raises:
        RequestError: they are ragged, or contain anything but whole numbers from 0 to 255.
    """
    if not isinstance(values, list):
        raise RequestError(400, "the images must be nested lists of pixel values")
    level, shape = values, [len(values)]
    while level and isinstance(level[0], list) and len(shape) <= _MOST_DIMENSIONS:
        length = len(level[0])
        if not all(type(part) is list and len(part) == length for part in level):
            raise RequestError(400, "the images' nested lists differ in length")
        shape.append(length)
        level = list(chain.from_iterable(level))
    try:
        if not set(map(type, level)) <= {int}:
            raise ValueError
        pixels = bytes(level)
    except (ValueError, OverflowError) as error:
        raise RequestError(400, "the pixels must be whole numbers from 0 to 255") from error
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def require_images(images: UInt8Array, expected: Sequence[int], maximum_images: int) -> UInt8Array:
    """Refuse images that do not fit a model.

    Raises:
        RequestError: their shape is not (n, *expected), or there are none or too many.
    """
    if images.ndim != 4 or images.shape[1:] != tuple(expected):
        raise RequestError(
            400,
            f"the model takes images of shape [n, {', '.join(map(str, expected))}]; got "
            f"{list(images.shape)}",
        )
    if not 1 <= len(images) <= maximum_images:
        raise RequestError(
            400, f"a request can have 1 to {maximum_images:,} images; got {len(images):,}"
        )
    return images
