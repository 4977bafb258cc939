"""Small multiples: the same chart once for each run, where curves would overlap."""

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes

from thumbnet.figures.charts import series_style
from thumbnet.figures.style import SERIES, Chart, label, style

FROM_RUNS = 4
"""With this many runs, charts become small multiples."""


@style()
def small_multiples(names: Sequence[str], draw: Callable[[str, Axes], object]) -> list[Chart]:
    """One small chart per run, all with the same limits.

    Args:
        names: of the runs.
        draw: draws the chart of one run into axes, as the only one.
    """
    figures = []
    for slot, name in enumerate(names):
        figure = Chart(figsize=(2.7, 2.2), layout="constrained")
        axes = figure.subplots()
        draw(name, axes)
        if (legend := axes.get_legend()) is not None:
            legend.remove()
        for line in axes.lines:
            if line.get_color() == SERIES[0]:  # drawn as the first run
                line.set(**series_style(slot))
        axes.set_title(label(name), fontsize=9, loc="left")
        figures.append(figure)
    all_axes = [figure.axes[0] for figure in figures]
    lows, highs = zip(*(axes.get_ylim() for axes in all_axes), strict=True)
    left, right = zip(*(axes.get_xlim() for axes in all_axes), strict=True)
    for axes in all_axes:
        axes.set(ylim=(min(lows), max(highs)), xlim=(min(left), max(right)))
    return figures
