"""Grids of images with captions: results in, Matplotlib figure out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap

from thumbnet.data.dataset import Int64Array, LabelledImages, UInt8Array
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Predictions
from thumbnet.figures.heat import scale_colors
from thumbnet.figures.style import DPI, MUTED, Chart, file_label, label, style

LONGEST_SIDE = 2**15  # pixels; Matplotlib's limit is twice this
_SCALE_INCHES = 0.35


@style()
def image_grid(images: UInt8Array, captions: Sequence[str], columns: int = 6) -> Chart:
    """Images in rows, each with a caption below it.

    Args:
        images: uint8 array of shape (n, height, width, channels), with 1 or 3 channels.
        captions: one per image; may contain line breaks.
        columns: images per row.

    Raises:
        InputError: there are no images, the number of captions differs, or there are too many
            images for one figure.
    """
    if len(images) == 0 or len(images) != len(captions):
        raise InputError(f"a grid of {len(images)} images cannot have {len(captions)} captions")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    lines = max(caption.count("\n") for caption in captions) + 1
    tall = images.shape[1] / images.shape[2]
    # In units of the width of an image, which is 1.1 inches.
    cell_width, cell_height = 1.2, tall + 0.17 * lines + 0.12
    size = (1.1 * cell_width * columns, 1.1 * cell_height * rows)
    if max(size) * DPI >= LONGEST_SIDE:
        raise InputError(f"{len(images)} images are too many for one figure; show fewer")
    figure = Chart(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for position, (image, caption) in enumerate(zip(images, captions, strict=True)):
        row, column = divmod(position, columns)
        left, top = (column + 0.5) * cell_width - 0.5, row * cell_height + 0.06
        axes.imshow(
            image.squeeze(),
            cmap="gray",
            vmin=0,
            vmax=255,
            extent=(left, left + 1, top + tall, top),
            interpolation="nearest",
        )
        shown = "\n".join(label(line) for line in caption.split("\n"))
        axes.text(left + 0.5, top + tall + 0.05, shown, ha="center", va="top", fontsize=8)
    axes.set(xlim=(0, columns * cell_width), ylim=(rows * cell_height, 0))
    return figure


def add_scale(figure: Chart) -> None:
    """Add the scale of `thumbnet.figures.heat` below a grid of images."""
    width, height = figure.get_size_inches()
    total = height + _SCALE_INCHES
    figure.set_size_inches(width, total)
    for axes in figure.axes:
        axes.set_position((0, 1 - height / total, 1, height / total))
    place: dict[str, Any] = {"va": "center", "fontsize": 8, "color": MUTED}
    middle, left, long = _SCALE_INCHES / 2 / total, 1.1 / width, min(2.2, width - 2.4) / width
    figure.text(0.1 / width, middle, "matters little", ha="left", **place)
    figure.text(left + long + 0.08 / width, middle, "a lot", ha="left", **place)
    bar = figure.add_axes((left, middle - 0.04 / total, long, 0.08 / total))
    bar.imshow([np.linspace(0, 1, 256)], cmap=ListedColormap(scale_colors(256)), aspect="auto")
    bar.set_axis_off()


def samples_grid(predictions: Predictions, test: LabelledImages, count: int = 24) -> Chart:
    """A fixed random sample of test images with their predictions."""
    return predicted_grid(predictions, test, sample_positions(len(predictions), count))


def sample_positions(images: int, count: int) -> Int64Array:
    """Up to `count` sorted positions out of `images`, drawn with a fixed seed."""
    chosen = np.random.default_rng(0).choice(images, min(count, images), replace=False)
    return np.sort(chosen).astype(np.int64)


def predicted_grid(predictions: Predictions, test: LabelledImages, positions: Int64Array) -> Chart:
    """The test images at `positions` of the predictions, with their predictions."""
    names, predicted = predictions.class_names, predictions.predicted
    captions = [
        f"{'✓' if predictions.correct[i] else '✗'} {names[predicted[i]]} "
        f"{predictions.confidence[i]:.0%}\ntrue: {names[predictions.labels[i]]}\n"
        f"{file_label(test.name(int(predictions.ids[i])))}"
        for i in positions
    ]
    return image_grid(test.images[predictions.ids[positions]], captions)
