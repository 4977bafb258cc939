"""Charts of a search: outcomes of trials in, Matplotlib figure out."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
    StrMethodFormatter,
)

from thumbnet.figures.charts import legend
from thumbnet.figures.style import INK, MUTED, SERIES, Chart, label, style
from thumbnet.tuning.outcomes import Outcome, State

_BEST: dict[str, Any] = {"color": SERIES[1]}
# Line and marker styles of the trials that were trained; the most informative are drawn last.
_STYLES: dict[State, dict[str, Any]] = {
    "screened": {"marker": ".", "markersize": 4, "color": MUTED},
    "pruned": {"marker": "x", "markersize": 4.5, "color": MUTED},
    "finished": {"marker": "o", "markersize": 4.5, "color": SERIES[0]},
}
_COLUMNS = 3
# A parameter with up to this many distinct values gets a categorical axis.
_MOST_CATEGORIES = 6
_LOG_RATIO = 8  # largest to smallest value, from which on the axis is logarithmic
_LONG = 24  # total letters of the tick labels, from which on they are rotated


@style()
def search_chart(outcomes: Sequence[Outcome]) -> Figure:
    """The validation accuracy of each trial, and the best so far."""
    figure, axes = _new(5.0, 3.3)
    _scatter(axes, outcomes, [one.number for one in outcomes])
    finished = [(one.number, one.curve[-1]) for one in outcomes if one.state == "finished"]
    numbers = [number for number, _ in finished] + [outcomes[-1].number]
    best = [max(accuracy for _, accuracy in finished[: end + 1]) for end in range(len(finished))]
    axes.step(numbers, [*best, best[-1]], where="post", **_BEST)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    _add_legend(figure, outcomes, "best so far")
    return figure


@style()
def validation_chart(outcomes: Sequence[Outcome], best: Collection[int]) -> Figure:
    """The validation accuracy of each trial over its training.

    Args:
        outcomes: outcomes of all trials.
        best: numbers of the trials to highlight.
    """
    figure, axes = _new(5.0, 3.3)
    states = list(_STYLES)
    shown = [one for one in outcomes if one.state in _STYLES and one.curve]
    for one in sorted(shown, key=lambda one: (one.number in best, states.index(one.state))):
        progress = [(epoch + 1) / one.epochs for epoch in range(len(one.curve))]
        # The marker is at the end of the curve: a curve of a single epoch would be invisible.
        line = _STYLES[one.state] | {"alpha": 0.5, "linewidth": 1}
        line |= {"markevery": [len(progress) - 1]}
        if one.number in best:
            line |= _BEST | {"alpha": 1, "linewidth": 2}
        axes.plot(progress, one.curve, **line)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="epochs trained", xlim=(0, 1.02))
    _add_legend(figure, outcomes, "best")
    return figure


@style()
def cost_chart(outcomes: Sequence[Outcome], front: Collection[int], limit: float) -> Figure:
    """The validation accuracy of each trial against its training FLOP.

    Args:
        outcomes: outcomes of all trials.
        front: numbers of the trials on the Pareto front.
        limit: trials with more FLOP than this were not trained.
    """
    figure, axes = _new(5.0, 3.3)
    _scatter(axes, outcomes, [one.flop / 1e12 if one.flop else None for one in outcomes])
    best = sorted((one.flop or 0, one.accuracy) for one in outcomes if one.number in front)
    flop, accuracies = zip(*best, strict=True)
    axes.step([each / 1e12 for each in flop], accuracies, where="post", marker="D", **_BEST)
    axes.axvline(limit / 1e12, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(left=0)
    axes.set_xlabel("training TFLOP (dashed: limit)")
    _add_legend(figure, outcomes, "Pareto front")
    return figure


@style()
def parameter_chart(outcomes: Sequence[Outcome], parameters: Sequence[str]) -> Figure:
    """The validation accuracy against each parameter, one panel per parameter.

    Args:
        outcomes: outcomes of all trials.
        parameters: dotted keys of the parameters; at least one trial has each.
    """
    rows = -(-len(parameters) // _COLUMNS)
    figure = Chart(figsize=(9.6, 0.5 + 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
    for axes, parameter in zip(panels.flat, parameters, strict=False):
        _draw_values(axes, outcomes, [one.parameters.get(parameter) for one in outcomes])
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="y")
        axes.set_title(short_name(parameter), loc="left", fontsize=9, fontweight="bold", color=INK)
    for axes in list(panels.flat)[len(parameters) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("validation accuracy")
    _add_legend(figure, outcomes)
    return figure


@style()
def importance_chart(importances: Mapping[str, float]) -> Figure:
    """The fraction of the accuracy's variance that each parameter explains."""
    figure = Chart(figsize=(5.0, 0.8 + 0.26 * len(importances)), layout="constrained")
    axes = figure.subplots()
    names = list(importances)[::-1]
    values = [importances[name] for name in names]
    axes.barh([label(short_name(name)) for name in names], values, color=SERIES[0])
    for position, value in enumerate(values):
        axes.annotate(
            f"{value:.0%}",
            (value, position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(axis="y", length=0)
    axes.margins(y=0.02)
    axes.set(xlabel="explained variance", xlim=(0, 1.12 * max(values)))
    return figure


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Chart(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("validation accuracy")
    axes.grid(axis="y")
    return figure, axes


def _draw_values(axes: Axes, outcomes: Sequence[Outcome], values: Sequence[Any]) -> None:
    """Accuracy against a parameter, on a numeric or a categorical axis."""
    known = [value for value in values if value is not None]
    categories = sorted(set(map(_text, known)), key=_order)
    if len(categories) > _MOST_CATEGORIES and all(type(value) in (int, float) for value in known):
        _scatter(axes, outcomes, values)
        if min(known) > 0 and max(known) > _LOG_RATIO * min(known):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        return
    positions = [None if value is None else categories.index(_text(value)) for value in values]
    _scatter(axes, outcomes, positions)
    axes.set_xticks(range(len(categories)), [label(category) for category in categories])
    if sum(map(len, categories)) > _LONG:
        for tick in axes.get_xticklabels():
            tick.set(rotation=20, ha="right", rotation_mode="anchor", fontsize=7)
    axes.set_xlim(-0.5, len(categories) - 0.5)


def _scatter(axes: Axes, outcomes: Sequence[Outcome], positions: Sequence[float | None]) -> None:
    """The accuracy of each trained trial at its position on the x axis."""
    for state, marker in _STYLES.items():
        points = [
            (position, one.accuracy)
            for one, position in zip(outcomes, positions, strict=True)
            if one.state == state and position is not None and one.accuracy is not None
        ]
        if points:
            axes.plot(*zip(*points, strict=True), linestyle="none", **marker)


def _add_legend(figure: Figure, outcomes: Sequence[Outcome], line: str = "") -> None:
    """A legend of the states that occur, and of a line."""
    found = [state for state in _STYLES if any(one.state == state for one in outcomes)]
    handles = [Line2D([], [], linestyle="none", **_STYLES[state]) for state in reversed(found)]
    names: list[str] = list(reversed(found))
    if line:
        handles.append(Line2D([], [], **_BEST))
        names.append(line)
    legend(figure, handles, names)


def short_name(parameter: str) -> str:
    """The name of a parameter in figures: `learning rate` for `optimizer.learning_rate`."""
    table, _, key = parameter.rpartition(".")
    return (table if key == "name" else key).replace("_", " ")


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _order(text: str) -> tuple[list[float], str]:
    """Sort key: numbers by value, names alphabetically."""
    try:
        return [float(part) for part in text.split(",")], ""
    except ValueError:
        return [], text
