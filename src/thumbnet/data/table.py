"""Tables of paths and labels, with or without splits, independent of the file format."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from thumbnet.data.encoded import EncodedImages, ImageFiles
from thumbnet.data.groups import groups_of_names
from thumbnet.data.labels import without_decimals
from thumbnet.data.listing import SPLITS, Listing, Problem, numbered_classes
from thumbnet.data.reading import Reading
from thumbnet.errors import InputError, shown

PATH_COLUMNS = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "image_name",
    "img",
    "img_path",
)
LABEL_COLUMNS = ("label", "class", "category", "target", "labels", "class_name", "label_name")
SPLIT_COLUMNS = ("split", "set", "subset")
"""Possible column names, in any case; the first one found is used."""

# No space may follow: a name such as "tench, Tinca tinca" is one class.
_SEPARATOR = re.compile(r"(?<=[^\s\d])[,;|](?=[^\s\d])")


def list_table(
    file: Path, columns: Mapping[str, Sequence[object]], reading: Reading, lines: Sequence[int]
) -> tuple[Listing, EncodedImages]:
    """List the images in a table.

    A row without a path, a label or a known split, or with several labels, is skipped and noted as
    a problem.

    Args:
        file: the table; paths are relative to its folder.
        columns: the values of each column: strings, numbers, or None if missing.
        reading: the user's choice of columns.
        lines: the line number of each row.

    Raises:
        InputError: a column is missing.
    """
    path_name = _required_column(file, columns, "path", reading.path_column, PATH_COLUMNS)
    label_name = _required_column(file, columns, "label", reading.label, LABEL_COLUMNS)
    split_name = find_column(columns, SPLIT_COLUMNS)
    paths = list(map(cell_text, columns[path_name]))
    labels = [cell_text(value).strip() for value in columns[label_name]]
    split_words = (
        list(map(cell_text, columns[split_name])) if split_name else ["train"] * len(lines)
    )
    several = _several_labels(columns[label_name])
    group_name = named_column(columns, reading.group) if reading.group else None
    groups = list(map(cell_text, columns[group_name])) if group_name else paths
    rows, problems = [], []
    for line, path, label, split, group in zip(
        lines, paths, labels, split_words, groups, strict=True
    ):
        missing = [n for n, v in ((path_name, path), (label_name, label)) if not v.strip()]
        if missing or "\0" in path:
            message = (
                f"has no {' and no '.join(missing)}" if missing else "has a null byte in its path"
            )
            problems.append(_bad_row(file, line, message, "fill it in, or remove the line"))
        elif split.strip().lower() not in SPLITS:
            message = f"has the unknown {split_name} {split!r:.40}"
            problems.append(_bad_row(file, line, message, "change it to train, val or test"))
        elif label in several:
            message = f"has several labels, {label:.40}"
            problems.append(_bad_row(file, line, message, "keep only one of them"))
        else:
            existing = _resolved_path(file.parent, path)
            rows.append((existing, label, SPLITS[split.strip().lower()], group or existing))
    class_names, numbers = numbered_classes(without_decimals([label for _, label, _, _ in rows]))
    names = [path for path, _, _, _ in rows]
    found_groups: Sequence[str] = ()
    if group_name:
        found_groups = [group for _, _, _, group in rows]
    elif reading.group:
        found_groups = groups_of_names(names, reading.group)
    listing = Listing(
        path=file,
        title=f"table {shown(file)}",
        names=names,
        class_names=class_names,
        labels=numbers,
        splits=np.array([split for _, _, split, _ in rows], np.int64),
        groups=found_groups,
        problems=tuple(problems),
        has_names=True,
    )
    return listing, ImageFiles(file, file.parent, names)


def find_column(columns: Mapping[str, object], names: Sequence[str]) -> str | None:
    """The first of the names that is a column, ignoring case."""
    by_name = {column.strip().lower(): column for column in reversed(list(columns))}
    return next((by_name[name] for name in names if name in by_name), None)


def named_column(columns: Mapping[str, object], name: str) -> str | None:
    """The column with a name given by the user: an exact match, or else one ignoring case."""
    return name if name in columns else find_column(columns, [name.strip().lower()])


def cell_text(value: object) -> str:
    """A table value as a string; empty if it is missing (None or NaN)."""
    is_nan = isinstance(value, float) and math.isnan(value)
    return "" if value is None or is_nan else str(value)


def _several_labels(values: Sequence[object]) -> set[str]:
    """Values that contain several labels: lists, and strings such as "cat,pet".

    For a string, one of its labels must also occur in another value; otherwise the string could be
    the name of a single class.
    """
    lists = {str(value) for value in values if isinstance(value, list | dict)}
    split = {label: _SEPARATOR.split(label) for label in {cell_text(v).strip() for v in values}}
    occurrences = Counter(part for parts in split.values() for part in set(parts))
    return lists | {
        label
        for label, parts in split.items()
        if len(parts) > 1 and any(occurrences[part] > 1 for part in parts)
    }


def _resolved_path(folder: Path, path: str) -> str:
    """The path unchanged if that file exists; otherwise stripped, or with "/" for backslashes."""
    stripped = path.strip()
    spellings = (path, stripped, stripped.replace("\\", "/"))
    if len(set(spellings)) == 1:
        return path
    return next((one for one in spellings if (folder / one).is_file()), stripped)


def _bad_row(file: Path, line: int, message: str, remedy: str) -> Problem:
    return Problem("bad row", f"{shown(file)} line {line}", message, remedy, stops_training=True)


def _required_column(
    file: Path,
    columns: Mapping[str, object],
    kind: str,
    wanted: str | None,
    known: Sequence[str],
) -> str:
    found = find_column(columns, known) if wanted is None else named_column(columns, wanted)
    if found is not None:
        return found
    option = {"path": "--path-column", "label": "--label"}[kind]
    there = ", ".join(map(shown, columns)) or "none"
    remedy = (
        f"choose one with {option}, or rename it to {known[0]}"
        if wanted is None
        else f"check {option}"
    )
    raise InputError(
        f"{shown(file)} has no {kind} column"
        + (f" named {wanted}" if wanted else "")
        + f"; {remedy} (its columns: {there})"
    )
