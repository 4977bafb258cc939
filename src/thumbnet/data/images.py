"""Reading any picture a user may have into the pixels a model takes.

Training and prediction read pictures with the functions here, so that both see the same pixels.
"""

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError, shown

FORMATS = ("PNG", "JPEG", "WEBP")
MAXIMUM_PIXELS = 50_000_000
_GREY_MODES = ("1", "L", "LA", "La", "I", "F")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that was read.

    Attributes:
        image: upright, opaque, RGB.
        format: "PNG", "JPEG" or "WEBP", as the content says.
        mode: Pillow's name of how the colours are stored.
        size: width and height as stored.
        animated: whether there are more frames; `image` is the first.
        deep: whether a value has more than 8 bits in the file.
    """

    image: Image.Image
    format: str
    mode: str
    size: tuple[int, int]
    animated: bool
    deep: bool

    @property
    def grey(self) -> bool:
        """Whether it is stored without colours."""
        return self.mode.split(";")[0].removesuffix("B") in _GREY_MODES


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
    with silent_pillow():
        return fit_image(open_picture(path).image, shape)


def open_picture(
    source: str | Path | bytes, name: str = "", maximum_pixels: int = MAXIMUM_PIXELS
) -> Picture:
    """Read a picture at its own size; to be called within `silent_pillow`.

    Args:
        source: a file, or the content of one.
        name: what to call content in messages.
        maximum_pixels: of what is larger, nothing is decoded.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    if not isinstance(source, bytes):
        name = shown(source)
    try:
        if _size(source) == 0:
            raise InputError(f"{name} is empty")
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=FORMATS) as picture:
            if picture.width * picture.height > maximum_pixels:
                raise InputError(
                    f"{name} has {picture.width}×{picture.height} pixels; "
                    f"at most {maximum_pixels // 1_000_000} million can be read"
                )
            format_ = "JPEG" if picture.format == "MPO" else picture.format or ""
            mode, size = picture.mode, picture.size
            animated = format_ != "JPEG" and getattr(picture, "n_frames", 1) > 1
            deep = mode.startswith(("I", "F")) or any(";16" in str(tile) for tile in picture.tile)
            ImageOps.exif_transpose(picture, in_place=True)
            plain = _on_white(_to_eight_bits(picture))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is no PNG, JPEG or WebP image") from error
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist") from error
    # What a damaged or malicious file makes Pillow's readers raise is listed nowhere.
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read as an image: {reason}") from error
    return Picture(plain, format_, mode, size, animated, deep)


def fit_image(image: Image.Image, shape: tuple[int, int, int]) -> UInt8Array:
    """Cut a picture to the proportions of `shape` around its centre, and resize it to that.

    Args:
        image: RGB or grey.
        shape: height, width and channels (1 or 3).

    Returns:
        uint8 array of that shape.
    """
    height, width, channels = shape
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    mode = "L" if channels == 1 else "RGB"
    return np.asarray(image if image.mode == mode else image.convert(mode)).reshape(shape)


@contextmanager
def silent_pillow() -> Iterator[None]:
    """Keep Pillow from warning of what it reads all the same.

    Sizes, which it warns of too, are checked in `open_picture`. Not safe to enter in several
    threads at once: threads are to be started within.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _size(source: str | Path | bytes) -> int:
    """Bytes of a file or content; a pipe or device, which could block for ever, is refused."""
    if isinstance(source, bytes):
        return len(source)
    found = Path(source).stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise InputError(f"{shown(source)} is no regular file")
    return found.st_size


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
