"""Fast resizing of many small images at once."""

import numpy as np
import numpy.typing as npt

from thumbnet.data.stored import UInt8Array, chunk_length


def resize_linear(images: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Resize images by antialiased linear interpolation.

    Pillow's pixels are the same up to rounding; matrix products take a tenth of the time for
    images of 32×32 pixels.

    Args:
        images: uint8 array of shape (n, height, width, channels).
        size: the new height and width.

    Returns:
        uint8 array of shape (n, *size, channels); `images` itself if it already has that size.
    """
    count, height, width, channels = images.shape
    if size == (height, width):
        return images
    rows = _weights(height, size[0])
    columns = np.kron(_weights(width, size[1]), np.eye(channels, dtype=np.float32))
    resized = np.empty((count, *size, channels), np.uint8)
    # Chunks keep the floating-point copies below a few tens of megabytes.
    at_a_time = min(chunk_length(images.shape), chunk_length(resized.shape))
    for start in range(0, count, at_a_time):
        chunk = images[start : start + at_a_time].reshape(-1, height, width * channels)
        lines = (rows @ chunk.astype(np.float32)).reshape(-1, width * channels)
        pixels = np.clip(np.round(lines @ columns.T), 0, 255)
        resized[start : start + at_a_time] = pixels.reshape(-1, *size, channels)
    return resized


def _weights(old: int, new: int) -> npt.NDArray[np.float32]:
    """Weight of each of `old` pixels in a line for each of `new`: shape (new, old)."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale - 0.5
    distances = np.abs(np.arange(old) - centres[:, None]) / max(scale, 1.0)
    weights = np.maximum(0, 1 - distances)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32)
