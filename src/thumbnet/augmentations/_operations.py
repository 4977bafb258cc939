"""The operations of RandAugment and AugMix on one image, using Pillow like the papers' code.

Keras's RandAugment and AugMix apply the same operations to all images of a batch. Its RandAugment
computes every operation and keeps two (20 times the arithmetic), and its AugMix draws from Python's
global generator, so that a run could not be resumed bit for bit.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from thumbnet.data.stored import UInt8Array

# Takes an image and a strength from -1 to 1; some operations ignore the sign.
Operation = Callable[[Image.Image, float], Image.Image]

_GREY = 128


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    fill = (_GREY,) * len(image.getbands())
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=fill
    )


def _rotate(image: Image.Image, strength: float) -> Image.Image:
    fill = (_GREY,) * len(image.getbands())
    return image.rotate(30 * strength, Image.Resampling.BILINEAR, fillcolor=fill)


def _shear_x(image: Image.Image, strength: float) -> Image.Image:
    return _affine(image, 1, 0.3 * strength, 0, 0, 1, 0)


def _shear_y(image: Image.Image, strength: float) -> Image.Image:
    return _affine(image, 1, 0, 0, 0.3 * strength, 1, 0)


def _translate_x(image: Image.Image, strength: float) -> Image.Image:
    return _affine(image, 1, 0, 0.45 * strength * image.width, 0, 1, 0)


def _translate_y(image: Image.Image, strength: float) -> Image.Image:
    return _affine(image, 1, 0, 0, 0, 1, 0.45 * strength * image.height)


def _autocontrast(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.autocontrast(image)


def _equalize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.equalize(image)


def _posterize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * abs(strength)))


def _solarize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1 - abs(strength))))


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, strength: kind(image).enhance(1 + 0.9 * strength)


# AugMix leaves out the corruptions that robustness is measured with.
GEOMETRIC_AND_TONAL: tuple[Operation, ...] = (
    _autocontrast,
    _equalize,
    _posterize,
    _rotate,
    _solarize,
    _shear_x,
    _shear_y,
    _translate_x,
    _translate_y,
)
ALL: tuple[Operation, ...] = (
    *GEOMETRIC_AND_TONAL,
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    lambda image, strength: image,
)


def apply(image: UInt8Array, chosen: Sequence[tuple[Operation, float]]) -> UInt8Array:
    """Apply operations one after another to an image of shape (height, width, 1 or 3)."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    for operation, strength in chosen:
        picture = operation(picture, strength)
    return np.asarray(picture).reshape(image.shape)
