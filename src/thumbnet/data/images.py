"""Reading any picture a user may have into the pixels a model takes.

Training, prediction and the service read pictures with the functions here, so that all see the
same pixels.
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
"""The pixels of a picture that are decoded by default; see `open_picture`."""

# A JPEG picture is decoded at a half, a quarter or an eighth of its size where that leaves at
# least this many times the pixels a side that are needed. From 3 on, Pillow's documentation of
# `reducing_gap` says, the result is almost the same as that of resampling the whole picture.
_REDUCING_GAP = 3
# What a JPEG picture costs that is decoded at a smaller size, as a fraction of its pixels: a
# baseline one is read through, of a progressive one all coefficients are held in memory.
_BASELINE_COST, _PROGRESSIVE_COST = 1 / 8, 1 / 2
# Larger ones are decoded one at a time, or memory would grow with the number of threads.
_LARGE_PIXELS = 8_000_000
_one_large_picture = threading.Lock()

_GREY_MODES = ("1", "L", "LA", "La", "I")
_TURNED = (5, 6, 7, 8)
"""Values of the EXIF orientation by which height and width change places."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that was read.

    Attributes:
        image: upright, opaque, RGB; smaller than `size` if less was needed.
        format: Pillow's name of the format, as the content says, such as "JPEG".
        mode: Pillow's name of how the colours are stored.
        size: width and height of the whole picture, upright.
        animated: whether there are more frames or pages; `image` is the first.
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


def read_image(
    path: str | Path, shape: tuple[int, int, int], maximum_pixels: int = MAXIMUM_PIXELS
) -> UInt8Array:
    """Read a picture of any size and mode as one image for a model.

    It is turned as its EXIF data say, laid on white where it is transparent, cut to the model's
    proportions around its centre, and made smaller or larger with antialiasing.

    Args:
        path: a picture file; of an animated one, the first frame counts.
        shape: height, width and channels (1 for grey, 3 for colour) that the model takes.
        maximum_pixels: as for `open_picture`.

    Returns:
        uint8 array of that shape.

    Raises:
        InputError: the file cannot be read as such a picture, or is too large.
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
    """Read a picture; to be called within `silent_pillow`.

    Args:
        source: a file, or the content of one.
        name: what to call content in messages.
        maximum_pixels: the most pixels that are decoded; of a picture with more, nothing is. A
            JPEG picture that is decoded at a smaller size counts with that size, or with an
            eighth of all its pixels (half of them, if it is progressive) where that is more.
        needed: height and width that it will be cut and resized to, so that a larger JPEG picture
            need not be decoded in full; None for all of it.
        formats: those that are read, by Pillow's names; None for all that can be.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    if not isinstance(source, bytes):
        name = shown(source)
    suffix, formats = Path(name).suffix.lower(), formats or readable_formats()
    try:
        if _size(source) == 0:
            raise InputError(f"{name} is empty")
        if suffix in CAMERA_SUFFIXES:
            raise InputError(
                f"{name} is a raw file of a camera ({suffix}), which is not read; convert it to "
                "PNG or JPEG"
            )
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        with Image.open(file, formats=formats) as picture:
            whole = picture.size
            if needed is not None:
                _reduce(picture, needed)
            _require_pixels(picture, whole, maximum_pixels, name)
            # A phone's JPEG file may hold a small copy beside the picture, which is not a frame.
            format_ = "JPEG" if picture.format == "MPO" else picture.format or ""
            mode = picture.mode
            animated = format_ != "JPEG" and bool(getattr(picture, "is_animated", False))
            deep = mode.startswith("I") or any(";16" in str(tile) for tile in picture.tile)
            with _one_at_a_time_if_large(picture):
                if _is_turned(picture):
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
    # What a damaged or malicious file makes Pillow's readers raise is listed nowhere.
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read as an image: {reason}") from error
    return Picture(plain, format_, mode, whole, animated, deep)


def pixels_to_decode(
    content: bytes | memoryview, needed: tuple[int, int], formats: tuple[str, ...] | None = None
) -> int:
    """How many pixels a picture counts with when `open_picture` reads it, by its head alone.

    Returns:
        0 for what is not a picture of these formats.
    """
    try:
        with Image.open(io.BytesIO(content), formats=formats or readable_formats()) as picture:
            whole = picture.size
            _reduce(picture, needed)
            return _cost(picture, whole)
    except Exception:  # what is wrong with it is said by whoever decodes it
        return 0


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
def silent_pillow(maximum_pixels: int = MAXIMUM_PIXELS) -> Iterator[None]:
    """Keep Pillow from warning of what it reads all the same.

    Pillow's own limit on sizes becomes the most that `open_picture` can accept: for a GIF picture,
    Pillow allocates memory before its size is known to others. Not safe to
    enter in several threads at once: threads are to be started within.
    """
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Pillow raises from twice as many on.
        Image.MAX_IMAGE_PIXELS = int(maximum_pixels / _BASELINE_COST / 2)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def beginning_of(path: Path) -> bytes:
    """The first bytes of a regular file, for `formats.format_of`; none of what cannot be read."""
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
    """Bytes of a file or content; a pipe or device, which could block for ever, is refused."""
    if isinstance(source, bytes):
        return len(source)
    found = Path(source).stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise InputError(f"{shown(source)} is not a regular file")
    return found.st_size


def _reduce(picture: ImageFile.ImageFile, needed: tuple[int, int]) -> None:
    """Have a JPEG picture decoded at the smallest size from which `needed` can still be made."""
    if picture.format not in ("JPEG", "MPO"):
        return
    height, width = (_REDUCING_GAP * side for side in needed)
    picture.draft(None, (height, width) if _is_turned(picture) else (width, height))


def _is_turned(picture: Image.Image) -> bool:
    return picture.getexif().get(ExifTags.Base.Orientation) in _TURNED


def _cost(picture: ImageFile.ImageFile, whole: tuple[int, int]) -> int:
    """The pixels that a picture counts with, `whole` being its size before it was reduced."""
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
        f"{name} has {size}, above the limit of {maximum_pixels / 1e6:g} million; make it smaller, "
        "or raise the limit (--max-megapixels)"
    )


def _one_at_a_time_if_large(picture: Image.Image) -> AbstractContextManager[object]:
    is_large = picture.width * picture.height > _LARGE_PIXELS
    return _one_large_picture if is_large else nullcontext()


def _to_eight_bits(picture: Image.Image, name: str) -> Image.Image:
    """Scale 16-bit grey values to 0 to 255; Pillow's own conversion cuts them off at 255."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture)
    if picture.mode.startswith("F") or values.min() < 0 or values.max() > 65_535:
        raise InputError(
            f"{name} holds values whose range is unknown (not of 8 or 16 bits); save it with 8 or "
            "16 bits, stretched to the range that matters"
        )
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def _on_white(picture: Image.Image) -> Image.Image:
    """Colours without transparency; what was transparent becomes white."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    opaque = picture.convert("RGBA")
    white = Image.new("RGBA", opaque.size, "white")
    return Image.alpha_composite(white, opaque).convert("RGB")
