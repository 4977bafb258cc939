"""Output of text and tables to a terminal, a pipe or a file."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from thumbnet.errors import JobError, printable, shown
from thumbnet.streams import send_nowhere

_UNLIMITED = 100_000
"""Width in columns; rich makes a table only as wide as it needs to be."""

BEST, UNSURE = "bold green", "yellow"
"""Styles of the best value in a row, and of a prediction that is rejected."""


Cell = str | Text


class LiteralTable(Table):
    """A table whose cells are plain text: markup and control characters in them are escaped.

    Many cells hold names that strangers chose. A styled cell is a `Text`, from `styled`.
    """

    def __init__(self, first: str, *others: str) -> None:
        super().__init__(box=box.SIMPLE_HEAD, pad_edge=False)
        self.add_column(_literal(first), overflow="fold")
        for other in others:
            self.add_column(_literal(other), justify="right", overflow="fold")

    def add_cells(self, *cells: Cell) -> None:
        """Add a row."""
        self.add_row(*(cell if isinstance(cell, Text) else _literal(cell) for cell in cells))


def new_table(first: str, *others: str) -> LiteralTable:
    """A table with a first column of names, followed by columns of numbers.

    In a narrow terminal, cells wrap.
    """
    return LiteralTable(first, *others)


def styled(text: str, style: str) -> Text:
    """A table cell in a style, with control characters escaped."""
    return Text(shown(text), style)


def _literal(text: str) -> str:
    return escape(shown(text))


def echo(text: str, *, error: bool = False) -> None:
    """Print lines at once, without wrapping them, with control characters escaped.

    Args:
        text: the lines.
        error: whether to print to standard error. Without it, for example on a full disk, the
            exit code still says what happened.
    """
    if not error:
        print(printable(text), flush=True)
        return
    with suppress(OSError):
        print(printable(text), file=sys.stderr, flush=True)


def width() -> int:
    """Columns of the terminal; output to a pipe or a file is not wrapped."""
    return Console(width=None).width if sys.stdout.isatty() else _UNLIMITED


def width_of(table: Table) -> int:
    """The columns that a table takes if no cell wraps."""
    return Console(width=_UNLIMITED).measure(table).maximum


def prints_unicode() -> bool:
    """Whether standard output can show more than ASCII."""
    return "utf" in (sys.stdout.encoding or "").lower()


def show(what: str | Table | Text) -> None:
    """Print a table, or lines of text with control characters escaped, to standard output.

    Colours are left out on a pipe, in a file, and where the variable `NO_COLOR` is set.
    """
    console = Console(width=width())
    if isinstance(what, str):
        console.print(printable(what), markup=False, highlight=False)
    else:
        console.print(what)


class OutputError(JobError):
    """Writing to standard output failed."""


class _StandardOutput(io.TextIOWrapper):
    """Standard output whose write errors can be distinguished from those of other files."""

    def write(self, text: str) -> int:
        with _as_output_errors():
            return super().write(text)

    def flush(self) -> None:
        with _as_output_errors():
            super().flush()


@contextmanager
def _as_output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def prepare_streams() -> None:
    """Make sure that the three standard streams exist and can print any text.

    A stream that the caller has closed is opened on the null device. Otherwise the next file to be
    opened would get its descriptor, and libraries would print into that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: the stream's
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    before = sys.stdout
    if isinstance(before, io.TextIOWrapper) and before is sys.__stdout__:
        encoding, line_buffering = before.encoding, before.line_buffering
        sys.stdout = _StandardOutput(
            before.detach(), encoding, "backslashreplace", line_buffering=line_buffering
        )


def discard_output() -> None:
    """Discard unwritten output; otherwise Python would report the error again at exit."""
    send_nowhere(sys.stdout.fileno())


def flush_errors() -> None:
    """Write what standard error still holds, or discard it: Python would exit with 120 instead."""
    try:
        sys.stderr.flush()
    except OSError:
        send_nowhere(sys.stderr.fileno())
