"""Tables in text files: CSV with any common delimiter, TSV, and JSON Lines."""

import codecs
import csv
import io
import json
import mimetypes
from collections.abc import Sequence
from pathlib import Path

from thumbnet.data.encoded import EncodedImages
from thumbnet.data.listing import Listing
from thumbnet.data.reading import Reading
from thumbnet.data.table import PATH_COLUMNS, find_column, list_table
from thumbnet.errors import InputError, shown

DELIMITED_SUFFIXES = (".csv", ".tsv", ".tab")
JSON_SUFFIXES = (".jsonl", ".ndjson")

_DELIMITERS = (",", ";", "\t", "|")


def list_csv(file: Path, reading: Reading) -> tuple[Listing, EncodedImages]:
    """List the images of a table that is delimited by commas, semicolons, tabs or bars.

    The first line contains the column names. They may be missing if there are two columns, one of
    them with image files.

    Raises:
        InputError: the file cannot be read, or is not such a table.
    """
    text = _read_text(file)
    try:
        # The csv module expects files to be opened with newline="".
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=_delimiter(text), skipinitialspace=True
        )
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{shown(file)} cannot be read as a table: {error}") from error
    if not rows:
        raise InputError(f"{shown(file)} is empty")
    header = [name.strip() for name in rows[0][1]]
    if _is_row_of_values(header, reading):
        header = _names_of_columns(file, header)
    else:
        rows = rows[1:]
    # A short line is missing its last values.
    columns = {
        name: [row[i] if i < len(row) else "" for _, row in rows] for i, name in enumerate(header)
    }
    return list_table(file, columns, reading, [number for number, _ in rows])


def list_json_lines(file: Path, reading: Reading) -> tuple[Listing, EncodedImages]:
    """List the images of a file with one JSON object per line, whose keys are the columns.

    Raises:
        InputError: the file cannot be read, or is not such a table.
    """
    rows = []
    for number, line in enumerate(_read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{shown(file)} line {number} is not valid JSON: {error}") from error
        if not isinstance(row, dict):
            raise InputError(
                f"{shown(file)} line {number} is not a JSON object; write each line like "
                '{"path": "1.png", "label": "cat"}'
            )
        rows.append((number, row))
    names = dict.fromkeys(name for _, row in rows for name in row)
    columns = {name: [row.get(name) for _, row in rows] for name in names}
    return list_table(file, columns, reading, [number for number, _ in rows])


def _read_text(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(file)} cannot be read: {error.strerror}") from error
    if _is_utf_16(content):
        raise InputError(f"{shown(file)} is in UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{shown(file)} line {line} is not valid UTF-8; save the file as UTF-8"
        ) from error


def _is_utf_16(content: bytes) -> bool:
    beginning = content[:200]
    return beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or (
        len(beginning) > 3 and not (any(beginning[::2]) and any(beginning[1::2]))
    )


def _delimiter(text: str) -> str:
    """The delimiter that splits the first line into the most columns."""
    first = next(filter(str.strip, text.splitlines()), "")
    return max(
        _DELIMITERS, key=lambda delimiter: len(next(csv.reader([first], delimiter=delimiter), []))
    )


def _is_row_of_values(cells: Sequence[str], reading: Reading) -> bool:
    """Whether a first line contains an image path instead of column names."""
    named = reading.path_column in cells or find_column(dict.fromkeys(cells), PATH_COLUMNS)
    return not named and any(map(_is_image_name, cells))


def _is_image_name(cell: str) -> bool:
    kind, _ = mimetypes.guess_type(f"x{Path(cell.replace(chr(0), '')).suffix}", strict=False)
    return kind is not None and kind.startswith("image/")


def _names_of_columns(file: Path, first_row: Sequence[str]) -> list[str]:
    are_paths = list(map(_is_image_name, first_row))
    if len(are_paths) != 2 or all(are_paths):
        raise InputError(
            f"{shown(file)} has no column names; add a first line with a name for each column, "
            "such as path,label"
        )
    return ["path" if is_path else "label" for is_path in are_paths]
