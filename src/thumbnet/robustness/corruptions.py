"""The common corruptions of CIFAR-10-C at five severities, with the constants for 32×32 images.

Source of the constants: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations, ICLR 2019 (arXiv 1903.12261), and their `make_cifar_c.py`
(github.com/hendrycks/robustness). This is an independent implementation with NumPy, SciPy and
Pillow instead of OpenCV, scikit-image and ImageMagick, so that images differ in detail and results
are called CIFAR-10-C-style. docs/trust.md lists the differences: `frost` is generated instead of
photographed, and `spatter`, which needs OpenCV's edge detector, is omitted.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from thumbnet.data.dataset import UInt8Array

SEVERITIES = (1, 2, 3, 4, 5)
LEFT_OUT = {
    "spatter": "needs OpenCV's edge detection, which is not a dependency",
}
# The fifteen corruptions of the benchmark, and its validation corruptions.
BENCHMARK = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
EXTRA = ("speckle_noise", "gaussian_blur", "saturate")

Float = npt.NDArray[np.float64]
_Corruption = Callable[[Float, Any, np.random.Generator], Float]


def corrupt(
    images: UInt8Array, name: str, severity: int, seed: int = 0, first: int = 0
) -> UInt8Array:
    """Apply a corruption to every image.

    Args:
        images: uint8 array of shape (n, height, width, channels) with 1 or 3 channels.
        name: one of `BENCHMARK` or `EXTRA`.
        severity: 1 to 5.
        seed: random seed; the noise of an image depends only on this and its number.
        first: number of the first image, if the images are part of a larger set.

    Returns:
        uint8 array of the same shape.
    """
    corruption, constants = _CORRUPTIONS[name]
    constant = constants[severity - 1]
    corrupted = np.empty_like(images)
    stream = tuple(_CORRUPTIONS).index(name)
    for number, image in enumerate(images):
        random = np.random.default_rng([seed, stream, severity, first + number])
        changed = corruption(image.astype(np.float64) / 255, constant, random)
        # Truncated, not rounded, like the published files.
        corrupted[number] = (np.clip(changed, 0, 1) * 255).astype(np.uint8)
    return corrupted


def _gaussian_noise(x: Float, scale: float, random: np.random.Generator) -> Float:
    return x + random.normal(scale=scale, size=x.shape)


def _shot_noise(x: Float, photons: float, random: np.random.Generator) -> Float:
    return random.poisson(x * photons) / photons


def _impulse_noise(x: Float, fraction: float, random: np.random.Generator) -> Float:
    struck = random.random(x.shape) < fraction
    return np.where(struck, random.integers(0, 2, size=x.shape), x)


def _speckle_noise(x: Float, scale: float, random: np.random.Generator) -> Float:
    return x + x * random.normal(scale=scale, size=x.shape)


def _gaussian_blur(x: Float, sigma: float, random: np.random.Generator) -> Float:
    return _blur(x, sigma)


def _defocus_blur(x: Float, constant: tuple[float, float], random: np.random.Generator) -> Float:
    radius, alias_sigma = constant
    rows, columns = np.mgrid[-8:9, -8:9]
    disk = (rows**2 + columns**2 <= radius**2).astype(np.float64)
    # Three taps, like OpenCV's kernel of three pixels.
    kernel = ndimage.gaussian_filter(disk / disk.sum(), alias_sigma, radius=1, mode="mirror")
    kernel = kernel[5:12, 5:12]  # the rest is zero and would cost time
    return _by_channel(x, lambda channel: ndimage.convolve(channel, kernel, mode="mirror"))


def _glass_blur(x: Float, constant: tuple[float, int, int], random: np.random.Generator) -> Float:
    sigma, reach, times = constant
    x = np.floor(_blur(x, sigma) * 255) / 255
    height, width = x.shape[:2]
    for _ in range(times):
        shifts = random.integers(-reach, reach, size=(height, width, 2)).tolist()
        for row in range(height - reach - 1, reach, -1):
            for column in range(width - reach - 1, reach, -1):
                across, down = shifts[row][column]
                # Copied, not swapped, like the published files: a bug of the original NumPy code.
                x[row, column] = x[row + down, column + across]
    return _blur(x, sigma)


def _motion_blur(x: Float, constant: tuple[int, float], random: np.random.Generator) -> Float:
    radius, sigma = constant
    return _streak(x, radius, sigma, random.uniform(-45, 45))


def _zoom_blur(x: Float, farthest: float, random: np.random.Generator) -> Float:
    factors = np.arange(1, farthest, 0.01)
    return (x + sum(_zoom(x, factor) for factor in factors)) / (len(factors) + 1)


def _fog(x: Float, constant: tuple[float, float], random: np.random.Generator) -> Float:
    strength, decay = constant
    height, width = x.shape[:2]
    side = 2 ** int(np.ceil(np.log2(max(height, width))))
    brightest = x.max()
    foggy = x + strength * _plasma(side, decay, random)[:height, :width, None]
    changed: Float = foggy * brightest / (brightest + strength)
    return changed


def _snow(x: Float, constant: tuple[float, ...], random: np.random.Generator) -> Float:
    mean, scale, zoom, threshold, radius, sigma, kept = constant
    flakes = random.normal(mean, scale, size=x.shape[:2])
    flakes = _zoom(flakes[..., None], zoom)
    flakes[flakes < threshold] = 0
    flakes = _streak(np.clip(flakes, 0, 1), int(radius), sigma, random.uniform(-135, -45))
    bleached = np.maximum(x, _luminance(x) * 1.5 + 0.5)
    return kept * x + (1 - kept) * bleached + flakes + np.rot90(flakes, 2)


def _frost(x: Float, constant: tuple[float, float], random: np.random.Generator) -> Float:
    kept, added = constant
    height, width = x.shape[:2]
    side = 2 ** int(np.ceil(np.log2(max(height, width))))
    # Generated, as the photographs are not available: the ridges of one cloud are needles of ice,
    # and another cloud sets the thickness of the ice.
    needles = (1 - np.abs(2 * _plasma(side, 1.5, random) - 1)) ** 4
    ice = np.clip(0.3 + 0.4 * _plasma(side, 2, random) + 0.6 * needles, 0, 1)[:height, :width, None]
    tint = np.array([0.85, 0.93, 1.0]) if x.shape[2] == 3 else np.array([0.92])
    frosted: Float = kept * x + added * ice * tint
    return frosted


def _contrast(x: Float, factor: float, random: np.random.Generator) -> Float:
    mean = x.mean(axis=(0, 1), keepdims=True)
    changed: Float = (x - mean) * factor + mean
    return changed


def _brightness(x: Float, added: float, random: np.random.Generator) -> Float:
    # In HSV space, only the value, which is the largest channel, is raised.
    value = x.max(axis=2, keepdims=True)
    raised = np.clip(value + added, 0, 1)
    scaled = x * np.divide(raised, value, out=np.ones_like(value), where=value > 0)
    changed: Float = np.where(value > 0, scaled, raised)
    return changed


def _saturate(x: Float, constant: tuple[float, float], random: np.random.Generator) -> Float:
    factor, added = constant
    value, low = x.max(axis=2, keepdims=True), x.min(axis=2, keepdims=True)
    spread = value - low
    before = np.divide(spread, value, out=np.zeros_like(value), where=value > 0)
    after = np.clip(before * factor + added, 0, 1)
    # Every channel keeps its relative position between the value (0) and the lowest channel (1);
    # grey turns red because its hue is 0.
    grey_place = np.ones(x.shape) * (np.arange(x.shape[2]) > 0)
    place = np.divide(value - x, spread, out=grey_place, where=spread > 0)
    changed: Float = value * (1 - place * after)
    return changed


def _jpeg(x: Float, quality: int, random: np.random.Generator) -> Float:
    file = io.BytesIO()
    _to_image(x).save(file, "JPEG", quality=quality)
    return _from_image(Image.open(file), x.shape)


def _pixelate(x: Float, scale: float, random: np.random.Generator) -> Float:
    picture = _to_image(x)
    small = (int(picture.width * scale), int(picture.height * scale))
    box = Image.Resampling.BOX
    return _from_image(picture.resize(small, box).resize(picture.size, box), x.shape)


def _elastic(x: Float, constant: tuple[float, ...], random: np.random.Generator) -> Float:
    height, width = x.shape[:2]
    strength, sigma, jitter = (fraction * min(height, width) for fraction in constant)
    centre, reach = np.array([width // 2, height // 2]), min(height, width) // 3
    corners = centre + reach * np.array([[1, 1], [1, -1], [-1, -1]], np.float64)
    moved = corners + random.uniform(-jitter, jitter, size=corners.shape)
    # The affine map from target to source coordinates, for rows (x, y, 1).
    back = np.linalg.solve(np.c_[moved, np.ones(3)], corners)
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    shifts = random.uniform(-1, 1, size=(2, height, width))
    if strength:
        shifts = ndimage.gaussian_filter(shifts, (0, sigma, sigma), mode="reflect", truncate=3)
    across, down = columns + strength * shifts[0], rows + strength * shifts[1]
    places = np.stack([across, down, np.ones_like(across)], axis=-1) @ back
    where = (places[..., 1], places[..., 0])
    return _by_channel(x, lambda c: ndimage.map_coordinates(c, where, order=1, mode="mirror"))


def _blur(x: Float, sigma: float) -> Float:
    blurred: Float = ndimage.gaussian_filter(x, (sigma, sigma, 0), mode="nearest")
    return blurred


def _by_channel(x: Float, change: Callable[[Float], Float]) -> Float:
    return np.stack([change(x[..., channel]) for channel in range(x.shape[2])], axis=-1)


def _streak(x: Float, radius: int, sigma: float, degrees: float) -> Float:
    """One-sided motion blur along a line with half-Gaussian weights, as in ImageMagick.

    Like ImageMagick's, the kernel has 2·radius + 1 pixels, sampled at the nearest pixel.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    angle = np.deg2rad(degrees)
    down, across = (np.round(steps * part).astype(int) for part in (np.sin(angle), np.cos(angle)))
    height, width = x.shape[:2]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    streaked = np.zeros_like(x)
    for weight, dy, dx in zip(weights, down, across, strict=True):
        row, column = np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)
        streaked += weight * x[row, column]
    return streaked


def _zoom(x: Float, factor: float) -> Float:
    """Zoom in around the centre, with bilinear interpolation and the same output size."""
    height, width = x.shape[:2]
    crop_height, crop_width = int(np.ceil(height / factor)), int(np.ceil(width / factor))
    top, left = (height - crop_height) // 2, (width - crop_width) // 2
    crop = x[top : top + crop_height, left : left + crop_width]
    large = ndimage.zoom(crop, (factor, factor, 1), order=1)
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    magnified: Float = large[top : top + height, left : left + width]
    return magnified


def _plasma(side: int, decay: float, random: np.random.Generator) -> Float:
    """A cloud from the diamond-square algorithm: float64 of shape (side, side), 0 to 1."""
    field = np.zeros((side, side))
    step, roughness = side, 100.0

    def wobbled(summed: Float) -> Float:
        return summed / 4 + roughness * random.uniform(-roughness, roughness, summed.shape)

    while step >= 2:
        half = step // 2
        corners = field[::step, ::step]
        beside = corners + np.roll(corners, -1, axis=0)
        field[half::step, half::step] = wobbled(beside + np.roll(beside, -1, axis=1))
        middles, corners = field[half::step, half::step], field[::step, ::step]
        above = middles + np.roll(middles, 1, axis=0) + corners + np.roll(corners, -1, axis=1)
        field[::step, half::step] = wobbled(above)
        left = middles + np.roll(middles, 1, axis=1) + corners + np.roll(corners, -1, axis=0)
        field[half::step, ::step] = wobbled(left)
        step, roughness = half, roughness / decay
    field -= field.min()
    highest = field.max()
    return field / highest if highest else field


def _luminance(x: Float) -> Float:
    if x.shape[2] == 1:
        return x
    changed: Float = x @ np.array([[0.299], [0.587], [0.114]])
    return changed


def _to_image(x: Float) -> Image.Image:
    pixels = np.round(x * 255).astype(np.uint8)
    return Image.fromarray(pixels.squeeze(axis=2) if x.shape[2] == 1 else pixels)


def _from_image(picture: Image.Image, shape: tuple[int, ...]) -> Float:
    # The offset makes truncation return the same whole numbers.
    return (np.asarray(picture, np.float64).reshape(shape) + 1e-6) / 255


_CORRUPTIONS: dict[str, tuple[_Corruption, tuple[Any, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": (_defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": (
        _glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    ),
    "motion_blur": (_motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": (_zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    "snow": (
        _snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "fog": (_fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (_brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": (_contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    # Strength, smoothness and jitter as fractions of the side.
    "elastic_transform": (
        _elastic,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
    ),
    "pixelate": (_pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": (_jpeg, (80, 65, 58, 50, 40)),
    "speckle_noise": (_speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
    "gaussian_blur": (_gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1)),
    "saturate": (_saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
    "frost": (_frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
}
