"""How text and tables look in the terminal, in a pipe and in a file."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from thumbnet.errors import JobError, printable, shown

_UNLIMITED = 100_000
"""Columns; rich gives a table only those that it needs."""


def new_table(first: str, *others: str) -> Table:
    """A table with a first column of names, and columns of figures.

    Where a terminal is too narrow, what a cell holds goes on in the next line.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for other in others:
        table.add_column(other, justify="right", overflow="fold")
    return table


def literal(text: str) -> str:
    """A name as a cell of a table can hold it: nothing in it is markup, or moves the cursor."""
    return escape(shown(text))


def show(what: str | Table) -> None:
    """Print a table, or lines of text whatever the names in them hold, on standard output.

    A pipe or a file gets all of it, in lines as long as they are.
    """
    console = Console(width=None if sys.stdout.isatty() else _UNLIMITED)
    if isinstance(what, str):
        console.print(printable(what), markup=False, highlight=False)
    else:
        console.print(what)


class OutputError(JobError):
    """Standard output cannot be written."""


class _StandardOutput(io.TextIOWrapper):
    """Standard output, of whose errors it can be told that they are its own."""

    def write(self, text: str) -> int:
        with _own_errors():
            return super().write(text)

    def flush(self) -> None:
        with _own_errors():
            super().flush()


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def prepare_streams() -> None:
    """Have the three standard streams there, and able to print any text.

    One that the caller has closed leads nowhere from now on: else the next file to be opened
    would take its number, and with it what libraries write to the screen.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest free number: the stream's own
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
    """Let go what could not be written, or Python would complain of it again while closing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
