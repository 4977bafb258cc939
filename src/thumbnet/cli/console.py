"""How tables look in the terminal."""

import sys

from rich import box
from rich.console import Console
from rich.table import Table


def new_table(first: str, *others: str) -> Table:
    """A table with a first column of names, and columns of figures."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for other in others:
        table.add_column(other, justify="right")
    return table


def standard_output() -> Console:
    """The screen. Not a terminal: as wide as the content, so that logs and pipes get it whole."""
    return Console(width=None if sys.stdout.isatty() else 160)
