"""Charts of risk and coverage, robustness, cost and features: results in, Matplotlib figure out."""

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from thumbnet.evaluation.calibration import risk_coverage
from thumbnet.evaluation.intervals import wilson
from thumbnet.evaluation.predictions import Predictions
from thumbnet.figures.charts import canvas, legend, percent_axis, series_style
from thumbnet.figures.style import HEAT, INK, MUTED, PAPER, SERIES, Chart, label, style
from thumbnet.recipes import KnownRecipe


@style()
def risk_coverage_chart(predictions: Mapping[str, Predictions], ax: Axes | None = None) -> Figure:
    """Risk-coverage curve: the error rate of the most confident predictions.

    Args:
        predictions: calibrated predictions of each run.
        ax: axes to draw in; a new figure by default.
    """
    figure, axes = canvas(ax, (4.2, 3.0))
    handles: list[Line2D] = []
    for slot, answers in enumerate(predictions.values()):
        curve = risk_coverage(answers)
        # The error rate of very few predictions is noise, and 200 points are enough for a chart.
        first = min(len(answers) // 50, len(answers) - 1)
        shown = np.unique(np.linspace(first, len(answers) - 1, 200).astype(int))
        shape = series_style(slot) | {"markevery": 25, "markersize": 3.5}
        axes.plot(curve.coverage[shown], curve.risk[shown], **shape)
        handles.append(Line2D([], [], **(series_style(slot) | {"markersize": 3.5})))
    axes.set(xlim=(0, 1.02), xlabel="coverage", ylabel="risk (error rate)")
    axes.set_ylim(bottom=0)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    axes.grid()
    legend(figure, handles, list(predictions), ax)
    return figure


@style()
def corruption_chart(accuracy: Mapping[str, Sequence[float]], ax: Axes | None = None) -> Figure:
    """A heat map of accuracy in percent: one row per corruption, one column per severity.

    Args:
        accuracy: of each corruption, the accuracy at each severity.
        ax: axes to draw in; a new figure by default.
    """
    values = 100 * np.array(list(accuracy.values()))
    rows, columns = values.shape
    figure, axes = canvas(ax, (4.2, 0.9 + 0.27 * rows))
    axes.pcolormesh(
        values,
        cmap=LinearSegmentedColormap.from_list("heat", [HEAT + "00", HEAT + "ff"]),
        norm=PowerNorm(1, vmin=0, vmax=100),
    )
    for row, cells in enumerate(values):
        for column, value in enumerate(cells):
            axes.text(column + 0.5, row + 0.5, f"{value:.0f}", ha="center", va="center", color=INK)
    axes.set_yticks(np.arange(rows) + 0.5, [label(name.replace("_", " ")) for name in accuracy])
    axes.set_xticks(np.arange(columns) + 0.5, [str(number + 1) for number in range(columns)])
    axes.set_ylim(rows, 0)
    axes.set_xlabel("severity")
    axes.tick_params(length=0)
    return figure


@style()
def accuracy_by_images_chart(
    images: Sequence[int], accuracy: Sequence[float], judged: int, ax: Axes | None = None
) -> Figure:
    """Validation accuracy against the number of training images, with 95% intervals.

    Args:
        images: numbers of training images, in increasing order.
        accuracy: the accuracy with each.
        judged: number of validation images.
        ax: axes to draw in; a new figure by default.
    """
    figure, axes = canvas(ax, (4.2, 3.0))
    axes.plot(images, accuracy, **series_style(0))
    for count, value in zip(images, accuracy, strict=True):
        if interval := wilson(round(value * judged), judged):
            axes.vlines(count, interval.low, interval.high, color=SERIES[0], linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(images, [f"{count:,}" for count in images])
    axes.minorticks_off()
    axes.set(xlabel="training images", ylabel="validation accuracy")
    percent_axis(axes.yaxis)
    axes.grid()
    return figure


@style()
def frontier_chart(runs: Mapping[str, tuple[float, float]], known: Sequence[KnownRecipe]) -> Chart:
    """Accuracy against FLOP per image.

    Args:
        runs: FLOP per image and accuracy of each run.
        known: recipes to compare with, in order of their FLOP.
    """
    figure = Chart(figsize=(4.2, 3.0), layout="constrained")
    axes = figure.subplots()
    handles: list[Line2D] = []
    for slot, (flop, accuracy) in enumerate(runs.values()):
        handles += axes.plot(
            [flop], [accuracy], **(series_style(slot) | {"markersize": 7, "linestyle": "none"})
        )
    rings = [(recipe.flop_per_image, recipe.accuracy) for recipe in known]
    handles += axes.plot(
        *zip(*rings, strict=True),
        linestyle="none",
        marker="o",
        markersize=13,
        markerfacecolor="none",
        markeredgecolor=MUTED,
    )
    for recipe, following in zip(known, [*known[1:], None], strict=True):
        # To the left if the next ring would cover the name.
        near = following and following.flop_per_image < 1.5 * recipe.flop_per_image
        axes.annotate(
            recipe.name,
            (recipe.flop_per_image, recipe.accuracy),
            xytext=(-11 if near else 11, -3),
            textcoords="offset points",
            horizontalalignment="right" if near else "left",
            color=MUTED,
        )
    axes.set_xscale("log")
    axes.margins(0.25)
    # Matplotlib would label powers of ten with formulas, which the style shows as plain text.
    axes.xaxis.set_major_formatter(lambda flop, _: f"{flop / 1e6:g}")
    axes.set_xlabel("MFLOP per image")
    axes.set_ylabel("test accuracy")
    percent_axis(axes.yaxis)
    axes.grid()
    legend(figure, handles, [*runs, "shipped recipes"])
    return figure


@style()
def projection_chart(
    points: "np.typing.NDArray[np.float64]",
    labels: "np.typing.NDArray[np.int64]",
    names: Sequence[str],
) -> Chart:
    """Penultimate features in two dimensions, with each class name at the median of its images.

    Up to ten classes have distinct colours and markers and a legend; more classes are distinguished
    by hue and by their names.

    Args:
        points: float64 array of shape (n, 2).
        labels: int64 array of shape (n,).
        names: class names.
    """
    few = len(names) <= len(SERIES)
    figure = Chart(figsize=(4.4, 3.6), layout="constrained")
    axes = figure.subplots()
    present = [number for number in range(len(names)) if (labels == number).any()]
    handles: list[Line2D] = []
    for number in present:
        shape = series_style(number) if few else {"color": _hue(number, len(names)), "marker": "o"}
        shape |= {"linestyle": "none", "markeredgewidth": 0}
        own = points[labels == number]
        axes.plot(own[:, 0], own[:, 1], **(shape | {"markersize": 3, "alpha": 0.5}))
        handles.append(Line2D([], [], **(shape | {"markersize": 6})))
    middles = {number: np.median(points[labels == number], axis=0) for number in present}
    gap, lowest = 0.04 * np.ptp(points[:, 1]), -np.inf
    for number in sorted(present, key=lambda number: float(middles[number][1])):
        # Keep names of neighbouring classes from overlapping.
        lowest = max(middles[number][1], lowest + gap)
        axes.text(
            middles[number][0],
            lowest,
            label(names[number]),
            ha="center",
            va="center",
            color=INK,
            weight="bold",
            fontsize=9 if few else 7,
            path_effects=[withStroke(linewidth=3, foreground=PAPER)],
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("principal component 1")
    axes.set_ylabel("principal component 2")
    if few:
        place: dict[str, Any] = {
            "loc": "upper left",
            "bbox_to_anchor": (1, 1),
            "handletextpad": 0.1,
            "borderaxespad": 0,
        }
        drawn = axes.legend(handles, ["name"] * len(handles), **place)
        for text, number in zip(drawn.get_texts(), present, strict=True):
            text.set_text(label(names[number]))
    return figure


def _hue(number: int, classes: int) -> tuple[float, float, float]:
    """A colour of medium lightness, visible on light and dark backgrounds."""
    return colorsys.hls_to_rgb(number / classes, 0.48, 0.7)
