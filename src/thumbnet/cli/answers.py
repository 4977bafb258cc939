"""The predictions of images, as a table and as CSV.

Separate from the other tables, which import much more.
"""

import sys
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from thumbnet.cli.console import UNSURE, new_table, show, styled
from thumbnet.csv_files import print_table
from thumbnet.engines.prediction import FilePrediction, PredictedImages


def print_predictions(
    answers: Sequence[FilePrediction], top: int, reject_below: float = 0.0
) -> None:
    """Print the most probable classes of each file; "not sure" if the confidence is too low."""
    table = new_table("image", "class", "probability", "next")
    unsure = False
    for answer in answers:
        if answer.error:
            continue
        (name, probability), *others = list(answer.probabilities.items())[:top]
        cell: str | Text = name
        if answer.is_rejected(reject_below):
            cell, unsure = styled(f"not sure ({name})", UNSURE), True
        rest = ", ".join(f"{other} {value:.1%}" for other, value in others)
        table.add_cells(answer.path, cell, f"{probability:.1%}", rest)
    if table.row_count:
        show(table)
    if unsure:
        show(f"not sure: the probability is below {reject_below:.0%} (--reject-below)")


def prediction_values(
    answers: PredictedImages, top: int, reject_below: float
) -> list[dict[str, Any]]:
    """The predictions as plain values for JSON, with whether their probabilities are calibrated."""
    calibrated = {"calibrated": not answers.uncalibrated}
    return [
        answer.to_dict(top, reject_below) | ({} if answer.error else calibrated)
        for answer in answers
    ]


def print_predictions_csv(
    answers: Sequence[FilePrediction], class_names: Sequence[str], reject_below: float
) -> None:
    """Print one row for each image, with the probability of every class."""
    rows = []
    for answer in answers:
        known = not answer.error
        row = {
            "path": answer.path,
            "class_name": answer.class_name,
            "probability": answer.confidence if known else "",
            "rejected": str(answer.is_rejected(reject_below)).lower() if known else "",
            "error": answer.error,
        }
        others = [name for name in class_names if name not in row]
        rows.append(row | {name: answer.probabilities.get(name, "") for name in others})
    print_table(rows, sys.stdout)
