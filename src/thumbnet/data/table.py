"""A table of paths and labels, with or without parts: CSV, TSV or Parquet."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from thumbnet.data.listing import SPLITS, Listing, Problem, numbered_classes
from thumbnet.data.pictures import PictureFiles, Pictures
from thumbnet.data.reading import Reading
from thumbnet.errors import InputError, shown

PATH_COLUMNS = ("path", "file", "filename", "file_name", "image")
LABEL_COLUMNS = ("label", "class", "category", "target")
SPLIT_COLUMNS = ("split", "set", "subset")
"""Names that a column may have, in any case; the first that there is counts."""


def list_csv(file: Path, reading: Reading) -> tuple[Listing, Pictures]:
    """List the pictures of a CSV file (or TSV, by its suffix) with a line of column names.

    Raises:
        InputError: it cannot be read, or is not such a table.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            rows = csv.reader(text, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
            header = next(rows, [])
            lines = [(rows.line_num, row) for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{shown(file)} cannot be read as a table: {error}") from error
    # A line that is too short lacks its last values.
    columns = {
        name: [row[i] if i < len(row) else "" for _, row in lines] for i, name in enumerate(header)
    }
    return list_table(file, columns, reading, [number for number, _ in lines])


def list_table(
    file: Path, columns: Mapping[str, Sequence[str]], reading: Reading, lines: Sequence[int]
) -> tuple[Listing, Pictures]:
    """List the pictures that the columns of a table name; `lines` are the rows' numbers.

    A row without a path, a label or a known part is left out and noted as a problem.

    Raises:
        InputError: a column is missing.
    """
    path_name = _column(file, columns, PATH_COLUMNS, "of paths")
    wanted = LABEL_COLUMNS if reading.label is None else (reading.label,)
    label_name = _column(file, columns, wanted, "of labels")
    split_name = find_column(columns, SPLIT_COLUMNS)
    rows, problems = [], []
    split_words = columns[split_name] if split_name else ["train"] * len(lines)
    for line, path, label, split in zip(
        lines, columns[path_name], columns[label_name], split_words, strict=True
    ):
        missing = [n for n, v in ((path_name, path), (label_name, label)) if not v.strip()]
        if missing or "\0" in path:
            message = f"has no {' and no '.join(missing)}" if missing else "has a 0 in its path"
            problems.append(_bad_row(file, line, message, "fill it in, or remove the line"))
        elif split.strip().lower() not in SPLITS:
            message = f"has {split!r:.40} as {split_name}"
            problems.append(_bad_row(file, line, message, "make it train, val or test"))
        else:
            rows.append((path, shown(label.strip()), SPLITS[split.strip().lower()]))
    class_names, labels = numbered_classes([label for _, label, _ in rows])
    names = [path for path, _, _ in rows]
    listing = Listing(
        path=file,
        title=f"table {shown(file)}",
        names=names,
        class_names=class_names,
        labels=labels,
        splits=np.array([split for _, _, split in rows], np.int64),
        problems=tuple(problems),
        are_files=True,
    )
    return listing, PictureFiles(file, file.parent, names)


def _bad_row(file: Path, line: int, message: str, remedy: str) -> Problem:
    return Problem("bad row", f"{shown(file)} line {line}", message, remedy, stops_training=True)


def find_column(columns: Mapping[str, object], names: Sequence[str]) -> str | None:
    """The first column that has one of the names, in any case."""
    by_name = {column.strip().lower(): column for column in reversed(list(columns))}
    return next((by_name[name] for name in names if name in by_name), None)


def _column(file: Path, columns: Mapping[str, object], names: Sequence[str], what: str) -> str:
    found = find_column(columns, [name.lower() for name in names])
    if found is None:
        there = ", ".join(map(shown, columns)) or "none"
        raise InputError(
            f"{shown(file)} has no column {what}; name one {' or '.join(names)} (there: {there})"
        )
    return found
