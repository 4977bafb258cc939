"""Images and probabilities as the tensors of a protocol."""

from typing import Any

import numpy as np

from thumbnet.data.stored import UInt8Array
from thumbnet.serving.models import ServedModel
from thumbnet.serving.problems import RequestError

INPUT, OUTPUT = "images", "probabilities"


def images_of_values(values: Any) -> UInt8Array:
    """Nested lists of whole numbers as uint8 images, of whatever shape they have.

    Raises:
        RequestError: they are ragged, or something else than whole numbers from 0 to 255.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError, TypeError, RecursionError) as error:
        raise RequestError(400, "the images' lists are not all of the same lengths") from error
    whole = array.dtype.kind in "iu"
    if array.size and not (whole and array.min() >= 0 and array.max() <= 255):
        raise RequestError(400, "the pixels must be whole numbers from 0 to 255")
    return array.astype(np.uint8)


def require_images(images: UInt8Array, model: ServedModel, most: int) -> UInt8Array:
    """Refuse images that a model cannot take.

    Raises:
        RequestError: their shape is another, there are none, or too many.
    """
    expected = model.engine.image_shape
    if images.ndim != 4 or images.shape[1:] != expected:
        raise RequestError(
            400,
            f"the model takes images of shape [n, {', '.join(map(str, expected))}]; got "
            f"{list(images.shape)}",
        )
    if not 1 <= len(images) <= most:
        raise RequestError(400, f"a request holds 1 to {most:,} images; got {len(images):,}")
    return images
