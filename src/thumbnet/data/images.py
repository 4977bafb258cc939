"""Reading image files into the pixels that a model takes.

Training, prediction and the service all read images with these functions, so they see the same
pixels.
"""

import io
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from thumbnet.data.formats import CAMERA_SUFFIXES, SNIFFED, readable_formats, why_unidentified
from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError, shown

MAXIMUM_PIXELS = 50_000_000
"""Default limit on the pixels of an image; see `open_picture`."""

# A JPEG image is decoded at 1/2, 1/4 or 1/8 of its size if height and width remain at least this
# many times as large as needed. According to Pillow's documentation of `reducing_gap`, the result
# is almost the same as resampling the whole image from a factor of 3.
_REDUCING_GAP = 3
# Cost of decoding a JPEG image at a smaller size, as a fraction of its pixels: a baseline image is
# read completely, and for a progressive one all coefficients are kept in memory.
_BASELINE_COST, _PROGRESSIVE_COST = 1 / 8, 1 / 2
# Larger images are decoded one at a time, so that memory does not grow with the number of threads.
_LARGE_PIXELS = 8_000_000
_one_large_picture = threading.Lock()
# Images are converted in strips: a conversion of the whole needs several times its memory.
_STRIP_ROWS = 256

_GREY_MODES = ("1", "L", "LA", "La", "I")
_SIDEWAYS = (5, 6, 7, 8)
"""Values of the EXIF orientation that swap height and width."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image read from a file.

    Attributes:
        image: the upright, opaque RGB image; smaller than `size` if less was needed.
        format: Pillow's name of the format, detected from the content, such as "JPEG".
        mode: Pillow's name of the colour mode.
        size: width and height of the full upright image.
        animated: whether there are several frames or pages; `image` is the first.
        deep: whether the file has more than 8 bits per channel.
    """

    image: Image.Image
    format: str
    mode: str
    size: tuple[int, int]
    animated: bool
    deep: bool

    @property
    def grey(self) -> bool:
        """Whether the file is greyscale."""
        return self.mode.split(";")[0].removesuffix("B") in _GREY_MODES


def read_image(
    path: str | Path, shape: tuple[int, int, int], maximum_pixels: int = MAXIMUM_PIXELS
) -> UInt8Array:
    """Read an image file of any size and mode and resize it for a model.

    The image is rotated according to its EXIF orientation, transparent areas become white, and it
    is centre-cropped to the aspect ratio of the model's input and resized with antialiasing.

    Args:
        path: an image file; the first frame of an animated image is used.
        shape: height, width and channels (1 for grey, 3 for colour) of the model's input.
        maximum_pixels: as for `open_picture`.

    Returns:
        uint8 array of that shape.

    Raises:
        InputError: the file cannot be read as an image, or is too large.
    """
    with silent_pillow(maximum_pixels):
        picture = open_picture(path, maximum_pixels=maximum_pixels, needed=shape[:2])
        return fit_image(picture.image, shape)


def open_picture(
    source: str | Path | bytes,
    name: str = "",
    maximum_pixels: int = MAXIMUM_PIXELS,
    needed: tuple[int, int] | None = None,
    formats: tuple[str, ...] | None = None,
) -> Picture:
    """Read an image; call this within `silent_pillow`.

    Args:
        source: a path, or the bytes of a file.
        name: the name of the bytes in messages.
        maximum_pixels: images with more pixels are refused without decoding them. A JPEG image
            that is decoded at a smaller size counts with that size, or with an eighth of its
            pixels (half if it is progressive) if that is more.
        needed: height and width that the image will be cropped and resized to, so that a larger
            JPEG image need not be decoded in full; None to decode it in full.
        formats: the accepted formats, by Pillow's names; None for all readable formats.

    Raises:
        InputError: the image cannot be read, or is too large.
    """
    if not isinstance(source, bytes):
        name = shown(source)
    suffix, formats = Path(name).suffix.lower(), formats or readable_formats()
    try:
        if _size(source) == 0:
            raise InputError(f"{name} is empty")
        if suffix in CAMERA_SUFFIXES:
            raise InputError(
                f"{name} is a camera raw file ({suffix}), which is not supported; convert it to "
                "PNG or JPEG"
            )
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=formats) as picture:
            whole = picture.size
            if needed is not None:
                _reduce(picture, needed)
            _require_pixels(picture, whole, maximum_pixels, name)
            # JPEG files from phones may contain a thumbnail, which is not another frame.
            format_ = "JPEG" if picture.format == "MPO" else picture.format or ""
            mode = picture.mode
            animated = format_ != "JPEG" and bool(getattr(picture, "is_animated", False))
            deep = mode.startswith("I") or any(";16" in str(tile) for tile in picture.tile)
            with _one_at_a_time_if_large(picture):
                if _is_sideways(picture):
                    whole = whole[1], whole[0]
                ImageOps.exif_transpose(picture, in_place=True)
                plain = _on_white(_to_eight_bits(picture, name))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        why = why_unidentified(_beginning(source), suffix, formats)
        raise InputError(f"{name} {why}") from error
    except FileNotFoundError as error:
        raise InputError(f"{name} does not exist") from error
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far too many pixels", maximum_pixels) from error
    # Pillow does not document which exceptions a damaged or malicious file can raise.
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read as an image: {reason}") from error
    return Picture(plain, format_, mode, whole, animated, deep)


def pixels_to_decode(
    content: bytes | memoryview, needed: tuple[int, int], formats: tuple[str, ...] | None = None
) -> int:
    """The number of pixels that `open_picture` compares with its limit, read from the header only.

    Returns:
        0 if the content is not an image in one of these formats.
    """
    try:
        with Image.open(io.BytesIO(content), formats=formats or readable_formats()) as picture:
            whole = picture.size
            _reduce(picture, needed)
            return _cost(picture, whole)
    except Exception:  # the error is reported when the image is decoded
        return 0


def fit_image(image: Image.Image, shape: tuple[int, int, int]) -> UInt8Array:
    """Centre-crop an image to the aspect ratio of `shape`, and resize it to that shape.

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
def silent_pillow(maximum_pixels: int = MAXIMUM_PIXELS) -> Iterator[None]:
    """Suppress Pillow's warnings about images that it can read anyway.

    Pillow's own limit on pixels is set to the maximum that `open_picture` can accept, because
    Pillow allocates memory for a GIF image before its size can be checked. Not thread-safe: start
    threads inside this context.
    """
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Pillow raises above twice this number.
        Image.MAX_IMAGE_PIXELS = int(maximum_pixels / _BASELINE_COST / 2)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def beginning_of(path: Path) -> bytes:
    """The first bytes of a regular file, for `formats.format_of`; empty if it cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read(SNIFFED)
    except OSError:
        return b""


def _beginning(source: str | Path | bytes) -> bytes:
    return source[:SNIFFED] if isinstance(source, bytes) else beginning_of(Path(source))


def _size(source: str | Path | bytes) -> int:
    """Size in bytes; pipes and devices, which could block forever, are refused."""
    if isinstance(source, bytes):
        return len(source)
    found = Path(source).stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise InputError(f"{shown(source)} is not a regular file")
    return found.st_size


def _reduce(picture: ImageFile.ImageFile, needed: tuple[int, int]) -> None:
    """Make Pillow decode a JPEG image at the smallest size that suffices for `needed`."""
    if picture.format not in ("JPEG", "MPO"):
        return
    height, width = (_REDUCING_GAP * side for side in needed)
    picture.draft(None, (height, width) if _is_sideways(picture) else (width, height))


def _is_sideways(picture: Image.Image) -> bool:
    return picture.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS


def _cost(picture: ImageFile.ImageFile, whole: tuple[int, int]) -> int:
    """The number of pixels that counts towards the limit; `whole` is the size before reduction."""
    pixels, decoded = whole[0] * whole[1], picture.width * picture.height
    if decoded == pixels:
        return pixels
    fraction = _PROGRESSIVE_COST if "progressive" in picture.info else _BASELINE_COST
    return max(decoded, int(fraction * pixels))


def _require_pixels(
    picture: ImageFile.ImageFile, whole: tuple[int, int], maximum_pixels: int, name: str
) -> None:
    if _cost(picture, whole) > maximum_pixels:
        raise _too_large(name, f"{whole[0]}×{whole[1]} pixels", maximum_pixels)


def _too_large(name: str, size: str, maximum_pixels: int) -> InputError:
    return InputError(
        f"{name} has {size}, above the limit of {maximum_pixels / 1e6:g} million; resize it, or "
        "raise the limit with --max-megapixels"
    )


def _one_at_a_time_if_large(picture: Image.Image) -> AbstractContextManager[object]:
    is_large = picture.width * picture.height > _LARGE_PIXELS
    return _one_large_picture if is_large else nullcontext()


def _to_eight_bits(picture: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit grey values to 0 to 255; Pillow's own conversion clips them at 255."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture)
    if picture.mode.startswith("F") or values.min() < 0 or values.max() > 65_535:
        raise InputError(
            f"{name} contains values of unknown range (not 8 or 16 bits); rescale the values to "
            "the range that matters and save it with 8 or 16 bits"
        )
    eight = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        eight[rows] = (values[rows].astype(np.uint32) + 128) // 257  # rounded
    return Image.fromarray(eight)


def _on_white(picture: Image.Image) -> Image.Image:
    """The image as RGB, with transparent areas in white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    result = Image.new("RGB", picture.size)
    for top in range(0, picture.height, _STRIP_ROWS):
        box = (0, top, picture.width, min(top + _STRIP_ROWS, picture.height))
        opaque = picture.crop(box).convert("RGBA")
        white = Image.new("RGBA", opaque.size, "white")
        result.paste(Image.alpha_composite(white, opaque).convert("RGB"), box)
    return result
