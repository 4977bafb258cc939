"""CSV files that are safe to open in a spreadsheet.

A spreadsheet treats a cell that starts with "=", "+", "-" or "@" as a formula, and a formula can
fetch URLs or start programs: https://owasp.org/www-community/attacks/CSV_Injection. Such text, for
example the file name "=1+1.png", is prefixed with an apostrophe, which `read_table` removes.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from thumbnet.atomic import write_text
from thumbnet.errors import InputError
from thumbnet.record import read_bounded_text

# The last four are the full-width forms of the first four. Existing apostrophes before such a
# character also match, so that removing one apostrophe restores the original.
_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV; the columns are all keys, in order of first appearance.

    Raises:
        StorageError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    print_table(rows, text)
    write_text(path, text.getvalue())


def print_table(rows: Sequence[Mapping[str, Any]], file: IO[str]) -> None:
    """Write rows as CSV to an open file."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(_harmless, columns))
    writer.writerows([_harmless(row.get(column, "")) for column in columns] for row in rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a file written by `write_table`, as dictionaries by column name.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is damaged: it is not text, is too large, or has rows of different lengths.
    """
    try:
        reader = csv.reader(io.StringIO(read_bounded_text(path), newline=""), strict=True)
        columns, *rows = list(reader) or [[]]
        return [
            dict(zip(map(_original, columns), map(_original, row), strict=True)) for row in rows
        ]
    except FileNotFoundError:
        raise
    except (csv.Error, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {error}") from error


def _harmless(value: Any) -> Any:
    """The value of a cell; text that a spreadsheet would evaluate is marked as text."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _original(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
