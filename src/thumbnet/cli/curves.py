"""The learning curves of a run, drawn as text."""

import math

import numpy as np
from rich.text import Text

from thumbnet.runs.history import History

WIDTH, HEIGHT = 60, 9
"""Size of the plot in characters, without its axes; it fits a terminal of 80 columns."""

# Validation comes last, so that it stays visible where the curves cross.
_CURVES = (
    ("training", "accuracy", "·", "cyan"),
    ("validation", "validation_accuracy", "●", "green"),
)


def learning_curves(history: History) -> Text | None:
    """Training and validation accuracy over the epochs; None with fewer than two epochs."""
    curves = [(name, mark, style, *history.series(column)) for name, column, mark, style in _CURVES]
    curves = [curve for curve in curves if len(curve[3]) > 1]
    if not curves:
        return None
    accuracies = [value for *_, values in curves for value in values]
    low = math.floor(10 * min(accuracies)) / 10
    high = max(math.ceil(10 * max(accuracies)) / 10, low + 0.1)
    first, last = min(curve[3][0] for curve in curves), max(curve[3][-1] for curve in curves)
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    for _, mark, style, epochs, values in curves:
        positions = np.linspace(first, last, WIDTH)
        for column, value in enumerate(np.interp(positions, epochs, values)):
            row = round((high - float(value)) / (high - low) * (HEIGHT - 1))
            cells[row, column] = mark, style
    chart = Text("accuracy\n")
    for row in range(HEIGHT):
        level = high - row / (HEIGHT - 1) * (high - low)
        chart.append(f"{level:4.0%} ┤" if row % (HEIGHT // 2) == 0 else "     │")
        for column in range(WIDTH):
            chart.append(*cells.get((row, column), (" ", "")))
        chart.append("\n")
    chart.append("     └" + "─" * WIDTH + "\n")
    chart.append(f"      epoch {first}" + f"{last}\n".rjust(WIDTH - 5 - len(str(first))))
    chart.append("      ")
    for name, mark, style, *_ in curves:
        chart.append(mark, style)
        chart.append(f" {name}  ")
    return chart
