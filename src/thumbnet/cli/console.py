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

_UNLIMITED = 100_000
"""Width in columns; rich makes a table only as wide as it needs to be."""

BEST, UNSURE = "bold green", "yellow"
"""Styles of the best value in a row, and of a prediction that is rejected."""


def announce(text: str) -> None:
    """Print a line to standard error at once, before anything slow is imported."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def new_table(first: str, *others: str) -> Table:
    """A table with a first column of names, followed by columns of numbers.

    In a narrow terminal, cells wrap.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for other in others:
        table.add_column(other, justify="right", overflow="fold")
    return table


def literal(text: str) -> str:
    """A name as plain text in a table cell: markup and control characters are escaped."""
    return escape(shown(text))


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
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
