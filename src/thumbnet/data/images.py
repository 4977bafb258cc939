"""Reading any picture a user may have into the pixels a model takes."""

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from thumbnet.data.dataset import UInt8Array
from thumbnet.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")
MAXIMUM_PIXELS = 50_000_000


def read_image(path: str | Path, shape: tuple[int, int, int]) -> UInt8Array:
    """Read a picture of any size and mode as one image for a model.

    It is turned as its EXIF data say, laid on white where it is transparent, cut to the model's
    proportions around its centre, and made smaller or larger with antialiasing.

    Args:
        path: a PNG, JPEG or WebP file; of an animated one, the first frame counts.
        shape: height, width and channels (1 for grey, 3 for colour) that the model takes.

    Returns:
        uint8 array of that shape.

    Raises:
        InputError: the file cannot be read as such a picture, or is too large.
    """
    height, width, channels = shape
    try:
        with warnings.catch_warnings():
            # Pillow warns of a large picture and goes on; the size is checked here instead.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as picture:
                if picture.width * picture.height > MAXIMUM_PIXELS:
                    raise InputError(
                        f"{path} has {picture.width}×{picture.height} pixels; "
                        f"at most {MAXIMUM_PIXELS // 1_000_000} million can be read"
                    )
                upright = ImageOps.exif_transpose(picture)
                plain = _on_white(_to_eight_bits(upright))
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is no PNG, JPEG or WebP image") from error
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as an image: {error}") from error
    fitted = ImageOps.fit(plain, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(fitted.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(shape)


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit grey values to 0 to 255; Pillow's own conversion cuts them off at 255."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture, dtype=np.float64)
    return Image.fromarray(np.clip(np.round(values / 257), 0, 255).astype(np.uint8))


def _on_white(picture: Image.Image) -> Image.Image:
    """Colours without transparency; what was transparent becomes white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    opaque = picture.convert("RGBA")
    white = Image.new("RGBA", opaque.size, "white")
    return Image.alpha_composite(white, opaque).convert("RGB")
