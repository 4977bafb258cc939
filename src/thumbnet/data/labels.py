"""Labels as files, arrays and libraries hold them, and the classes that they stand for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thumbnet.data.listing import numbered_classes
from thumbnet.data.stored import Int64Array
from thumbnet.errors import InputError, shown

_WHOLE = re.compile(r"([+-]?\d+)(?:\.0*)?")


@dataclass(frozen=True)
class LabelColumn:
    """Labels that belong together: of one file, array or part.

    Attributes:
        title: what to call the labels in messages, such as "y_test in pets.npz".
        values: a whole number or a text for each image.
        class_names: the names of labels 0, 1, …; empty where they are not known.
    """

    title: str
    values: Sequence[object]
    class_names: tuple[str, ...] = ()


def number_labels(
    columns: Sequence[LabelColumn], first_names: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], Int64Array]:
    """Class names for all columns, and the labels of all their images, one after another.

    Each column's numbers mean its own class names, as two files may order them differently.
    Without names, the labels themselves are the names.

    Args:
        columns: the labels.
        first_names: class names that come first.

    Raises:
        InputError: a label is neither a whole number nor a text, or has no name; or a column has
            no class names where others have different ones.
    """
    orders = dict.fromkeys(column.class_names for column in columns if column.class_names)
    if not orders:
        texts = [_text(column, row) for column in columns for row in range(len(column.values))]
        return numbered_classes(without_decimals(texts))
    names = dict.fromkeys(name for order in (first_names, *orders) for name in order)
    number = {name: index for index, name in enumerate(names)}
    labels: list[int] = []
    for column in columns:
        if not column.class_names and len(orders) > 1:
            raise InputError(
                f"{column.title} does not say what its labels mean, and the others disagree; give "
                "it the names of the classes too"
            )
        order = column.class_names or next(iter(orders))
        of_number = [number[name] for name in order]
        labels += [_index(column, row, order, of_number) for row in range(len(column.values))]
    return tuple(names), np.array(labels, np.int64)


def without_decimals(labels: Sequence[str]) -> list[str]:
    """Labels as class names: where all are whole numbers, "3.0" is "3", as pandas writes some."""
    whole = [_WHOLE.fullmatch(label) for label in labels]
    are_whole = all(whole)
    return [
        shown(match[1] if are_whole and match else label)
        for match, label in zip(whole, labels, strict=True)
    ]


def _index(column: LabelColumn, row: int, order: tuple[str, ...], of_number: list[int]) -> int:
    """The number that the label of a row gets: it is one in its own order, or the name itself."""
    label = column.values[row]
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(order):
        return of_number[label]
    if isinstance(label, str) and shown(label) in order:
        return of_number[order.index(shown(label))]
    raise _refusal(column, row, f"0 to {len(order) - 1}, or the name of a class")


def _text(column: LabelColumn, row: int) -> str:
    label = column.values[row]
    if not isinstance(label, str | int | float) or label != label or not str(label).strip():
        raise _refusal(column, row, "a whole number or a text")
    return str(label)


def _refusal(column: LabelColumn, row: int, needed: str) -> InputError:
    return InputError(
        f"{column.title} has {column.values[row]!r:.40} in row {row}; it must be {needed}: remove "
        "such rows, or choose other labels"
    )
