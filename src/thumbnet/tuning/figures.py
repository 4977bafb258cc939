"""The charts of a search: outcomes of trials in, Matplotlib figure out."""

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
from thumbnet.figures.style import INK, MUTED, SERIES, label, style
from thumbnet.tuning.outcomes import Outcome, State

_BEST: dict[str, Any] = {"color": SERIES[1]}
# Of the trials that were trained, those that say most drawn last.
_LOOKS: dict[State, dict[str, Any]] = {
    "in short": {"marker": ".", "markersize": 4, "color": MUTED},
    "given up": {"marker": "x", "markersize": 4.5, "color": MUTED},
    "finished": {"marker": "o", "markersize": 4.5, "color": SERIES[0]},
}
_COLUMNS = 3
# A parameter of so few values has a place for each, one of more an axis.
_MOST_KINDS = 6
_SPREAD = 8  # of values that want a logarithmic axis
_LONG = 24  # in letters, of names that have no room side by side


@style()
def search_chart(outcomes: Sequence[Outcome]) -> Figure:
    """The validation accuracy of each trial, and the best so far."""
    figure, axes = _new(5.0, 3.3)
    _dots(axes, outcomes, [one.number for one in outcomes])
    finished = [(one.number, one.curve[-1]) for one in outcomes if one.state == "finished"]
    numbers = [number for number, _ in finished] + [outcomes[-1].number]
    best = [max(accuracy for _, accuracy in finished[: end + 1]) for end in range(len(finished))]
    axes.step(numbers, [*best, best[-1]], where="post", **_BEST)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("trial")
    _name_dots(figure, outcomes, "best so far")
    return figure


@style()
def validation_chart(outcomes: Sequence[Outcome], best: Collection[int]) -> Figure:
    """The validation accuracy of each trial over its training.

    Args:
        outcomes: of all trials.
        best: the numbers of those to bring out.
    """
    figure, axes = _new(5.0, 3.3)
    states = list(_LOOKS)
    shown = [one for one in outcomes if one.state in _LOOKS and one.curve]
    for one in sorted(shown, key=lambda one: (one.number in best, states.index(one.state))):
        shares = [(epoch + 1) / one.epochs for epoch in range(len(one.curve))]
        # Marked where it ended; a curve of a single epoch is nothing but that.
        look = _LOOKS[one.state] | {"alpha": 0.5, "linewidth": 1, "markevery": [len(shares) - 1]}
        if one.number in best:
            look |= _BEST | {"alpha": 1, "linewidth": 2}
        axes.plot(shares, one.curve, **look)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="share of its epochs", xlim=(0, 1.02))
    _name_dots(figure, outcomes, "best")
    return figure


@style()
def cost_chart(outcomes: Sequence[Outcome], front: Collection[int], limit: float) -> Figure:
    """The validation accuracy of each trial against the arithmetic of its training.

    Args:
        outcomes: of all trials.
        front: the numbers of those that none is better than at less cost.
        limit: the FLOP above which nothing is trained.
    """
    figure, axes = _new(5.0, 3.3)
    _dots(axes, outcomes, [one.flop / 1e12 if one.flop else None for one in outcomes])
    best = sorted((one.flop or 0, one.accuracy) for one in outcomes if one.number in front)
    flop, accuracies = zip(*best, strict=True)
    axes.step([each / 1e12 for each in flop], accuracies, where="post", marker="D", **_BEST)
    axes.axvline(limit / 1e12, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(left=0)
    axes.set_xlabel("TFLOP of training; the dashed line is the limit")
    _name_dots(figure, outcomes, "front")
    return figure


@style()
def parameter_chart(outcomes: Sequence[Outcome], parameters: Sequence[str]) -> Figure:
    """The validation accuracy against each parameter, a panel each.

    Args:
        outcomes: of all trials.
        parameters: their dotted keys; each was varied in some trial.
    """
    rows = -(-len(parameters) // _COLUMNS)
    figure = Figure(figsize=(9.6, 0.5 + 2.1 * rows), layout="constrained")
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
    _name_dots(figure, outcomes)
    return figure


@style()
def importance_chart(shares: Mapping[str, float]) -> Figure:
    """How much of the accuracy's variance each parameter explains."""
    figure = Figure(figsize=(5.0, 0.8 + 0.26 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = list(shares)[::-1]
    axes.barh(
        [label(short_name(name)) for name in names], [shares[n] for n in names], color=SERIES[0]
    )
    for position, name in enumerate(names):
        axes.annotate(
            f"{shares[name]:.0%}",
            (shares[name], position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(axis="y", length=0)
    axes.margins(y=0.02)
    axes.set(xlabel="share of the variance", xlim=(0, 1.12 * max(shares.values())))
    return figure


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_ylabel("validation accuracy")
    axes.grid(axis="y")
    return figure, axes


def _draw_values(axes: Axes, outcomes: Sequence[Outcome], values: Sequence[Any]) -> None:
    """The accuracies over a parameter's values: numbers along an axis, others each at its place."""
    known = [value for value in values if value is not None]
    kinds = sorted(set(map(_text, known)), key=_order)
    if len(kinds) > _MOST_KINDS and all(type(value) in (int, float) for value in known):
        _dots(axes, outcomes, values)
        if min(known) > 0 and max(known) > _SPREAD * min(known):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        return
    places = [None if value is None else kinds.index(_text(value)) for value in values]
    _dots(axes, outcomes, places)
    axes.set_xticks(range(len(kinds)), [label(kind) for kind in kinds])
    if sum(map(len, kinds)) > _LONG:
        for tick in axes.get_xticklabels():
            tick.set(rotation=20, ha="right", rotation_mode="anchor", fontsize=7)
    axes.set_xlim(-0.5, len(kinds) - 0.5)


def _dots(axes: Axes, outcomes: Sequence[Outcome], places: Sequence[float | None]) -> None:
    """The accuracy of each trial that was trained, at its place."""
    for state, look in _LOOKS.items():
        dots = [
            (place, one.accuracy)
            for one, place in zip(outcomes, places, strict=True)
            if one.state == state and place is not None and one.accuracy is not None
        ]
        if dots:
            axes.plot(*zip(*dots, strict=True), linestyle="none", **look)


def _name_dots(figure: Figure, outcomes: Sequence[Outcome], line: str = "") -> None:
    """A legend of the kinds of trials that there are, and of a line."""
    found = [state for state in _LOOKS if any(one.state == state for one in outcomes)]
    handles = [Line2D([], [], linestyle="none", **_LOOKS[state]) for state in reversed(found)]
    names: list[str] = list(reversed(found))
    if line:
        handles.append(Line2D([], [], **_BEST))
        names.append(line)
    legend(figure, handles, names)


def short_name(parameter: str) -> str:
    """`optimizer.learning_rate` as a figure calls it: its table goes without saying."""
    table, _, key = parameter.rpartition(".")
    return (table if key == "name" else key).replace("_", " ")


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _order(text: str) -> tuple[list[float], str]:
    """Numbers by their size, names by the alphabet."""
    try:
        return [float(part) for part in text.split(",")], ""
    except ValueError:
        return [], text
