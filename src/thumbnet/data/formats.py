"""Recognising image files by their names and first bytes."""

import re
from functools import cache

from PIL import Image

_ALWAYS_READ = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM")
_READ_BY_PLUGINS = ("AVIF", "HEIF")

WEB_FORMATS = ("PNG", "JPEG", "WEBP")
"""Formats that a service accepts from clients: browsers expose their decoders to strangers too."""

_READ_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".hif"),
)
CAMERA_SUFFIXES = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".raw", ".rw2")
"""Camera raw formats, whose content often begins like TIFF."""
_UNREAD_SUFFIXES = (".svg", ".jxl", ".jp2", ".j2k", ".psd", ".tga", ".exr", ".qoi")
IMAGE_SUFFIXES = (*_READ_SUFFIXES, *_UNREAD_SUFFIXES, *CAMERA_SUFFIXES)
"""Suffixes in lower case of files that are meant to be images, whatever their content is."""

SNIFFED = 512
"""Number of bytes that `format_of` needs from the beginning of a file."""
_BEGINNINGS = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "WebP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{4}\0{4}",
    "TIFF": rb"II\*\0|MM\0\*|II\+\0|MM\0\+",
    "PPM": rb"P[1-6][\s#]",
    "AVIF": rb".{4}ftypavi[fs]",
    "HEIC": rb".{4}ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "Photoshop": rb"8BPS",
    "OpenEXR": rb"v/1\x01",
    "QOI": rb"qoif",
    "icon": rb"\0\0\x01\0",
    "PDF": rb"%PDF-",
    "PostScript": rb"%!PS",
    "SVG": rb"\s*(<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*)*<svg\b",
}


def format_of(beginning: bytes) -> str | None:
    """The common name of an image's format, from the first `SNIFFED` bytes of its content.

    Returns:
        The name, even of a format that cannot be read; None if the content is not an image.
    """
    beginning = beginning.removeprefix(b"\xef\xbb\xbf")
    for name, pattern in _BEGINNINGS.items():
        if re.match(pattern, beginning, re.DOTALL):
            return name
    return None


@cache
def readable_formats() -> tuple[str, ...]:
    """Pillow's names of the readable formats, including those of installed plug-ins."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        pass
    else:
        register_heif_opener()
    Image.init()
    return tuple(name for name in (*_ALWAYS_READ, *_READ_BY_PLUGINS) if name in Image.OPEN)


def why_unidentified(beginning: bytes, suffix: str, formats: tuple[str, ...]) -> str:
    """Error message for a file that Pillow does not recognise as one of `formats`."""
    found = format_of(beginning)
    if found is None and suffix in _UNREAD_SUFFIXES:
        found = suffix[1:].upper()
    if found is None:
        return "is not an image in any known format"
    if {"HEIC": "HEIF"}.get(found, found.upper()) in formats:
        return f"begins like a {found} file but is damaged"
    if found in ("AVIF", "HEIC") and formats == readable_formats():
        plugin = {"AVIF": "pillow-avif-plugin", "HEIC": "pillow-heif"}[found]
        return (
            f"is in {found} format, which requires the package {plugin}; install it, or convert "
            "the image to PNG or JPEG"
        )
    return f"is in {found} format, which is not supported; convert it to PNG or JPEG"
