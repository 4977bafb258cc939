"""Converting the labels of files, arrays and libraries to class indices."""

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
    """The labels of one file, array or split.

    Attributes:
        title: name in messages, such as "y_test in pets.npz".
        values: an integer or string for each image.
        class_names: the names of labels 0, 1, …; empty if unknown.
    """

    title: str
    values: Sequence[object]
    class_names: tuple[str, ...] = ()


def number_labels(
    columns: Sequence[LabelColumn], first_names: tuple[str, ...] = ()
) -> tuple[tuple[str, ...], Int64Array]:
    """Class names for all columns together, and the concatenated labels of their images.

    Numbers in a column refer to its own class names, which may be ordered differently in each file.
    Without class names, the labels themselves are the names.

    Args:
        columns: the labels.
        first_names: class names that come first.

    Raises:
        InputError: a label is neither an integer nor a string, or has no name; or a column has no
            class names while those of the other columns differ.
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
                f"{column.title} has no class names, and those of the other files differ; add "
                "class names to it"
            )
        order = column.class_names or next(iter(orders))
        of_number = [number[name] for name in order]
        labels += [_index(column, row, order, of_number) for row in range(len(column.values))]
    return tuple(names), np.array(labels, np.int64)


def without_decimals(labels: Sequence[str]) -> list[str]:
    """Labels as class names; if all are whole numbers, "3.0", as pandas writes it, becomes "3"."""
    whole = [_WHOLE.fullmatch(label) for label in labels]
    are_whole = all(whole)
    return [
        shown(match[1] if are_whole and match else label)
        for match, label in zip(whole, labels, strict=True)
    ]


def _index(column: LabelColumn, row: int, order: tuple[str, ...], of_number: list[int]) -> int:
    """The class index of a row, whose label is an index into `order` or a class name."""
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
        raise _refusal(column, row, "an integer or a string")
    return str(label)


def _refusal(column: LabelColumn, row: int, needed: str) -> InputError:
    return InputError(
        f"{column.title} has {column.values[row]!r:.40} in row {row}; it must be {needed}; remove "
        "such rows, or choose other labels"
    )
