"""Heat maps over images: one colour map for every explanation, in figures, report and web page."""

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import UInt8Array

# Matplotlib's "inferno" from a quarter on: its lightness increases evenly, also without colours.
STOPS = ((87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
STRONGEST = 0.85
"""Opacity of the colours, from half of the range on; below, grey shows through."""
DIMMED = 0.75
"""Brightness of the grey image, so that the colours stand out."""
SIDE = 128
"""Pixels: small images are enlarged to at least this, or a smooth map could not be seen."""


def heat_overlay(images: UInt8Array, heat: npt.NDArray[np.float64]) -> UInt8Array:
    """Colours over each image in grey, enlarged to at least `SIDE` pixels.

    Args:
        images: uint8 array of shape (n, height, width, channels).
        heat: float64 array of shape (n, height, width), 0 to 1.

    Returns:
        uint8 RGB images of shape (n, rows, columns, 3).
    """
    scale = enlargement(images.shape[1:3])
    grey = enlarged(images).mean(axis=-1, keepdims=True) * DIMMED
    smooth = _enlarged_smoothly(heat, scale)
    color, alpha = heat_colors(smooth)
    mixed: UInt8Array = np.round(alpha * color + (1 - alpha) * grey).astype(np.uint8)
    return mixed


def heat_colors(
    heat: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """RGB colours, 0 to 255, of shape (…, 3), and opacities, 0 to 1, of shape (…, 1)."""
    positions = np.linspace(0, 1, len(STOPS))
    channels = [np.interp(heat, positions, channel) for channel in zip(*STOPS, strict=True)]
    return np.stack(channels, axis=-1), STRONGEST * np.minimum(1, 2 * heat)[..., None]


def scale_colors(steps: int = 9) -> list[str]:
    """The colours from "matters little" to "a lot" over mid-grey, for CSS and figures."""
    color, alpha = heat_colors(np.linspace(0, 1, steps))
    mixed = alpha * color + (1 - alpha) * 127.5 * DIMMED
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in np.round(mixed).astype(int)]


def enlarged(images: UInt8Array) -> UInt8Array:
    """Each pixel repeated, so that a side has at least `SIDE` pixels."""
    scale = enlargement(images.shape[1:3])
    large: UInt8Array = images.repeat(scale, axis=1).repeat(scale, axis=2)
    return large


def enlargement(size: tuple[int, ...]) -> int:
    """How often a pixel is repeated in each direction."""
    return max(1, -(-SIDE // min(size)))


def _enlarged_smoothly(heat: npt.NDArray[np.float64], scale: int) -> npt.NDArray[np.float64]:
    from scipy import ndimage

    large = ndimage.zoom(heat, (1, scale, scale), order=1, mode="nearest", grid_mode=True)
    smooth: npt.NDArray[np.float64] = np.clip(large, 0, 1)
    return smooth
