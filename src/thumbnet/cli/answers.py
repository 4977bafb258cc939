"""The table of predictions; separate from the other tables, which import much more."""

from collections.abc import Sequence

from thumbnet.cli.console import literal, new_table, show
from thumbnet.engines.prediction import FilePrediction


def print_predictions(
    answers: Sequence[FilePrediction], top: int, reject_below: float = 0.0
) -> None:
    """Print the most probable classes of each file; "rejected" if the confidence is too low."""
    table = new_table("image", "class", "probability", "next")
    for answer in answers:
        if answer.error:
            continue
        (name, probability), *others = list(answer.probabilities.items())[:top]
        if probability < reject_below:
            name = f"rejected ({name})"
        rest = ", ".join(f"{other} {value:.1%}" for other, value in others)
        table.add_row(literal(answer.path), literal(name), f"{probability:.1%}", literal(rest))
    if table.row_count:
        show(table)
