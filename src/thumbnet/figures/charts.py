"""Charts: results in, Matplotlib figure out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from thumbnet.data.dataset import Int64Array
from thumbnet.errors import InputError
from thumbnet.evaluation.calibration import CALIBRATION_BINS
from thumbnet.evaluation.predictions import Predictions
from thumbnet.evaluation.records import Evaluation
from thumbnet.figures.style import HEAT, INK, MARKERS, MUTED, PAPER, SERIES, Chart, label, style
from thumbnet.runs.history import History

# Above these numbers of classes, a confusion matrix has no room for counts, percentages, all names.
COUNTED_CLASSES, NUMBERED_CLASSES, NAMED_CLASSES = 10, 20, 100
_MATRIX_INCHES = 12.0
_EXTREME_CLASSES = 20
_LEGEND_WIDTH, _HANDLE_WIDTH = 55, 7  # in letters, for a chart 4.2 inches wide


@dataclass(frozen=True, eq=False)
class Reliability:
    """Confidence against accuracy, in the non-empty bins of equal width.

    Attributes:
        confidence: float64 array of shape (bins,), the mean confidence in each bin.
        accuracy: float64 array of shape (bins,), the accuracy in each bin.
        images: int64 array of shape (bins,), the number of images in each bin.
    """

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    images: Int64Array


def reliability_of(predictions: Predictions, bins: int = CALIBRATION_BINS) -> Reliability:
    """The data of the reliability diagram, in the bins of the ECE."""
    confidence = predictions.confidence.astype(np.float64)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    images = np.bincount(bin_of, minlength=bins)
    filled = images > 0
    confidence_sum = np.bincount(bin_of, weights=confidence, minlength=bins)
    correct = np.bincount(bin_of, weights=predictions.correct, minlength=bins)
    return Reliability(
        confidence=confidence_sum[filled] / images[filled],
        accuracy=correct[filled] / images[filled],
        images=images[filled],
    )


@style()
def learning_curve(
    histories: Mapping[str, History], metric: str = "loss", ax: Axes | None = None
) -> Figure:
    """A metric over the epochs, for training (dashed) and validation (solid).

    Args:
        histories: history of each run, from `Run.history`.
        metric: a column of the history; its validation column is `validation_` and this name.
        ax: axes to draw in; a new figure by default.
    """
    figure, axes = canvas(ax, (4.2, 3.0))
    handles: list[Line2D] = []
    for slot, history in enumerate(histories.values()):
        shape = series_style(slot) | {"markersize": 3.5}
        handles.append(Line2D([], [], **shape))
        for column, dashes in ((metric, (0, (2.5, 1.5))), (f"validation_{metric}", "-")):
            epochs, values = history.series(column)
            axes.plot(epochs, values, linestyle=dashes, markevery=max(1, len(epochs) // 8), **shape)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric.replace("_", " "))
    if "accuracy" in metric:
        percent_axis(axes.yaxis)
    axes.grid(axis="y")
    handles += [Line2D([], [], color=INK, linestyle=dashes) for dashes in ((0, (2.5, 1.5)), "-")]
    legend(figure, handles, [*histories, "training", "validation"], ax)
    return figure


@style()
def confusion_chart(evaluation: Evaluation, ax: Axes | None = None) -> Figure:
    """The confusion matrix; rows are true classes, columns predicted classes.

    The colour shows the percentage of the images of the true class. With up to 20 classes, the
    percentage is also printed, and with up to 10, the number of images below it. The colour scale
    is the square root, so that mistakes are visible beside a strong diagonal. With more than 100
    classes, only some are named.

    Args:
        evaluation: the evaluation whose confusion matrix to draw.
        ax: axes to draw in; a new figure by default.
    """
    counts = evaluation.confusion_matrix
    names = [label(scores.name) for scores in evaluation.classes]
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = len(names)
    with_counts, with_percent = classes <= COUNTED_CLASSES, classes <= NUMBERED_CLASSES
    cell = 0.5 if with_counts else 0.36 if with_percent else max(0.105, 4 / classes)
    side = 1.5 + min(cell * classes, _MATRIX_INCHES)
    figure, axes = canvas(ax, (side, side), "compressed")
    edges = np.arange(classes + 1) - 0.5
    axes.pcolormesh(
        edges,
        edges,
        fractions,
        # From transparent to opaque, so that the background can have any colour.
        cmap=LinearSegmentedColormap.from_list("heat", [HEAT + "00", HEAT + "ff"]),
        norm=PowerNorm(0.5, vmin=0, vmax=1),
        rasterized=not with_percent,  # ten thousand cells are smaller as a bitmap
    )
    axes.set(aspect="equal", ylim=(classes - 0.5, -0.5))
    for row, column in zip(*np.nonzero(counts), strict=True) if with_percent else ():
        percent = 100 * fractions[row, column]
        text = axes.text(
            column,
            row - (0.16 if with_counts else 0),
            "<1" if percent <= 0.5 else f"{percent:.0f}",
            ha="center",
            va="center",
            color=INK,
            fontsize=9,
        )
        text.set_in_layout(False)  # inside the axes anyway, and slow to measure
        if with_counts:
            below = axes.text(
                column,
                row + 0.24,
                f"{counts[row, column]:,}",
                ha="center",
                va="center",
                color=MUTED,
                fontsize=7,
            )
            below.set_in_layout(False)
    text_size = 9 if with_percent else 6
    step = -(-classes // NAMED_CLASSES)
    shown = np.arange(0, classes, step)
    axes.set_xticks(shown, names[::step], rotation=90, fontsize=text_size)
    axes.set_yticks(shown, names[::step], rotation=0, fontsize=text_size)
    # Anchored at the tick, so that labels stay in place if the viewer uses another font.
    for tick in axes.get_xticklabels():
        tick.set(rotation_mode="anchor", ha="right", va="center")
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6)
    return figure


@style()
def class_f1_chart(evaluations: Mapping[str, Evaluation], ax: Axes | None = None) -> Figure:
    """F1 of each class with its 95% CI, the best class of the first run on top.

    With more than 100 classes, only the best 20 and the worst 20 are shown.

    Args:
        evaluations: evaluation of each run; all have the same classes.
        ax: axes to draw in; a new figure by default.
    """
    scores = np.array([[c.f1 or 0.0 for c in e.classes] for e in evaluations.values()])
    order = np.argsort(scores[0], kind="stable")
    left_out = 0
    if len(order) > NAMED_CLASSES:
        left_out = len(order) - 2 * _EXTREME_CLASSES
        order = np.concatenate([order[:_EXTREME_CLASSES], order[-_EXTREME_CLASSES:]])
    names = [label(c.name) for c in next(iter(evaluations.values())).classes]
    rows = np.arange(len(order), dtype=np.float64)
    if left_out:
        rows[_EXTREME_CLASSES:] += 1

    height = 1.0 + (0.27 if len(order) <= 40 else 0.17) * len(order)
    figure, axes = canvas(ax, (4.2, height))
    low = scores.min(axis=0)[order] if len(evaluations) > 1 else np.zeros(len(order))
    axes.hlines(rows, low, scores.max(axis=0)[order], color=MUTED, linewidth=1)
    handles: list[Line2D] = []
    for slot, evaluation in enumerate(evaluations.values()):
        # A class without images has no interval: NaN draws nothing.
        ends = np.array([(c.f1_low, c.f1_high) for c in evaluation.classes], np.float64)[order]
        axes.hlines(rows, *ends.T, color=series_style(slot)["color"], linewidth=4, alpha=0.35)
    for slot, values in enumerate(scores):
        shape = series_style(slot) | {
            "markersize": 7,
            "markeredgecolor": PAPER,
            "linestyle": "none",
        }
        handles += axes.plot(values[order], rows, **shape)
    if left_out:
        middle = _EXTREME_CLASSES
        axes.text(0.5, middle, f"{left_out:,} more classes", ha="center", va="center")
    axes.set_yticks(rows, [names[i] for i in order], fontsize=9 if len(order) <= 40 else 7)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.6, rows[-1] + 0.6)
    axes.set_xlabel("F1")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    legend(figure, handles, list(evaluations), ax)
    return figure


@style()
def reliability_chart(
    predictions: Mapping[str, Predictions],
    most_images: float | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Reliability diagram: accuracy against confidence, above the distribution of confidence.

    The accuracy of bins with fewer than ten images is not shown.

    Args:
        predictions: predictions of each run.
        most_images: upper limit of the lower axis, as a fraction of images, so that two charts can
            have the same limit; by default the largest fraction in the data.
        ax: axes for accuracy against confidence only, without the distribution; a new figure with
            both by default.
    """
    found = {name: reliability_of(answers) for name, answers in predictions.items()}

    below = None
    if ax is not None:
        figure, above = canvas(ax, (4.2, 3.2))
    else:
        figure = Chart(figsize=(4.2, 4.4), layout="constrained")
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    handles: list[Line2D] = []
    for slot, bins in enumerate(found.values()):
        fraction = bins.images / bins.images.sum()
        shape = series_style(slot)
        sure = bins.images >= min(10, bins.images.max())
        above.plot(bins.confidence[sure], bins.accuracy[sure], markersize=4.5, **shape)
        if below is not None:
            below.plot(bins.confidence, fraction, markersize=3, linewidth=1.2, **shape)
        handles.append(Line2D([], [], markersize=4.5, **shape))
    above.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel="accuracy")
    lowest = above if below is None else below
    lowest.set_xlabel("confidence")
    if below is not None:
        below.set(ylabel="images", ylim=(0, None if most_images is None else 1.05 * most_images))
    for axes in filter(None, (above, below)):
        axes.grid()
        percent_axis(axes.yaxis)
    percent_axis(lowest.xaxis)
    handles.append(Line2D([], [], color=MUTED, linewidth=1, linestyle=(0, (4, 3))))
    legend(figure, handles, [*found, "perfectly calibrated"], ax)
    return figure


def percent_axis(axis: Axis) -> None:
    """Label an axis of fractions in whole percent."""
    axis.set_major_locator(_WholePercent())
    axis.set_major_formatter(PercentFormatter(1, decimals=0))


class _WholePercent(MaxNLocator):
    """Ticks at whole percentages, without duplicate labels."""

    def __init__(self) -> None:
        super().__init__(nbins=6, steps=[1, 2, 2.5, 5, 10], integer=True)

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        return [tick / 100 for tick in super().tick_values(100 * vmin, 100 * vmax)]


def series_style(slot: int) -> dict[str, Any]:
    """Colour and marker of a run, the same in every chart."""
    return {"color": SERIES[slot % len(SERIES)], "marker": MARKERS[slot % len(MARKERS)]}


def canvas(
    ax: Axes | None,
    size: tuple[float, float],
    layout: Literal["constrained", "compressed"] = "constrained",
) -> tuple[Figure, Axes]:
    """The caller's axes and their figure, or a new figure with a size in inches."""
    if ax is None:
        figure: Figure = Chart(figsize=size, layout=layout)
        return figure, figure.subplots()
    found = ax.get_figure(root=True)
    if found is None:
        raise InputError("the axes given as ax do not belong to a figure")
    return found, ax


def legend(
    figure: Figure, handles: Sequence[Line2D], names: Sequence[str], ax: Axes | None = None
) -> None:
    """A legend above the axes, in as many columns as fit.

    In the caller's axes, the legend is placed inside, where there is most room.
    """
    if ax is not None:
        drawn = ax.legend(handles, ["name"] * len(names), loc="best", fontsize=8)
        for text, name in zip(drawn.get_texts(), names, strict=True):
            text.set_text(label(name))
        return
    widths = [len(label(name)) + _HANDLE_WIDTH for name in names]
    one_row = sum(widths) <= _LEGEND_WIDTH
    columns = len(names) if one_row else max(1, _LEGEND_WIDTH // max(widths))
    # Matplotlib drops labels that start with an underscore, so the names are set afterwards.
    drawn = figure.legend(handles, ["name"] * len(names), loc="outside upper left", ncols=columns)
    for text, name in zip(drawn.get_texts(), names, strict=True):
        text.set_text(label(name))
