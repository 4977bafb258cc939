"""Answers as a table; apart from the other tables, which import far more than `predict` needs."""

from collections.abc import Sequence

from thumbnet.cli.console import literal, new_table, show
from thumbnet.engines.prediction import FilePrediction


def print_predictions(
    answers: Sequence[FilePrediction], top: int, reject_below: float = 0.0
) -> None:
    """The most probable classes of each file; "rejected" where the first is too improbable."""
    table = new_table("image", "class", "probability", "then")
    for answer in answers:
        if answer.error:
            continue
        (name, probability), *others = list(answer.probabilities.items())[:top]
        if probability < reject_below:
            name = f"rejected ({name})"
        rest = ", ".join(f"{other} {share:.1%}" for other, share in others)
        table.add_row(literal(answer.path), literal(name), f"{probability:.1%}", literal(rest))
    if table.row_count:
        show(table)
