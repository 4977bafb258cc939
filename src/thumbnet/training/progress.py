"""Progress of a job: a live line on a terminal, one plain line per epoch elsewhere.

It goes to standard error, so that standard output contains only results.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from thumbnet.errors import printable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from thumbnet.recipe import Recipe
    from thumbnet.training.batches import Batches


class Display(Protocol):
    """Shows the progress of training and downloads."""

    def message(self, text: str) -> None:
        """Show a message."""

    def training(self, recipe: "Recipe", batches: "Batches") -> "AbstractContextManager[None]":
        """Enclose the steps of one run."""

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        """Show a step: its number in the run, its metrics, learning rate and batch size."""

    def epoch(self, row: Mapping[str, float]) -> None:
        """Show a finished epoch, given its row of the history."""

    def standing(self, text: str) -> None:
        """Show the status of a larger job that the run is part of."""

    def download(self, done: int, total: int) -> None:
        """Show the number of bytes received, out of `total` (0 if unknown)."""


def choose_display(quiet: bool = False) -> Display:
    """A live display on a terminal and in a notebook, plain lines elsewhere; nothing if quiet."""
    if quiet:
        return SilentDisplay()
    return LiveDisplay() if sys.stderr.isatty() or _can_draw_in_notebook() else PlainDisplay()


def _can_draw_in_notebook() -> bool:
    """Whether this is a notebook in which rich can update a bar, which takes ipywidgets."""
    if "IPython" not in sys.modules or find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console(stderr=True).is_jupyter


class SilentDisplay:
    """Shows nothing."""

    def message(self, text: str) -> None: ...

    @contextmanager
    def training(self, recipe: "Recipe", batches: "Batches") -> Iterator[None]:
        yield

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None: ...

    def epoch(self, row: Mapping[str, float]) -> None: ...

    def standing(self, text: str) -> None: ...

    def download(self, done: int, total: int) -> None: ...


class PlainDisplay(SilentDisplay):
    """One line per epoch, for logs."""

    def __init__(self) -> None:
        self._epochs = 0
        self._tenth = 0

    def message(self, text: str) -> None:
        with suppress(OSError):  # a broken log must not stop a training
            print(printable(text), file=sys.stderr, flush=True)

    @contextmanager
    def training(self, recipe: "Recipe", batches: "Batches") -> Iterator[None]:
        self._epochs = recipe.epochs
        yield

    def epoch(self, row: Mapping[str, float]) -> None:
        self.message(describe_epoch(row, self._epochs))

    def download(self, done: int, total: int) -> None:
        tenth = 10 * done // total if total else 0
        if tenth > self._tenth:
            self.message(f"received {done / 1e6:.0f} of {total / 1e6:.0f} MB")
        self._tenth = tenth


class LiveDisplay(SilentDisplay):
    """A bar that is updated at every step, and a permanent line for every epoch."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._epochs = 0
        self._started = 0.0
        self._first_step: int | None = None
        self._standing = ""
        self._new_bar()

    def _new_bar(self) -> None:
        """Create a new, hidden bar; restarting a stopped one would erase lines above it."""
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[detail]}"),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, detail="", visible=False)

    def message(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False)

    @contextmanager
    def training(self, recipe: "Recipe", batches: "Batches") -> Iterator[None]:
        self._batches, self._epochs = batches, recipe.epochs
        self._first_step = None
        self._new_bar()
        self._bar.update(
            self._task,
            total=batches.total_steps,
            description=recipe.name,
            detail="first step: compiling",
            visible=True,
        )
        with self._bar:
            yield

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        now = time.monotonic()
        if (
            self._first_step is None
        ):  # the first step compiles the graph and says nothing about speed
            self._first_step, self._started = step, now
        taken = step - self._first_step
        speed = taken / (now - self._started) if taken else 0.0
        epoch, within = self._batches.position(step - 1)
        steps = self._batches.steps(epoch)
        where = [f"epoch {epoch + 1}/{self._epochs}", f"step {within + 1}/{steps}"]
        figures = [f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items()]
        figures.append(f"learning rate {rate:.2g}")
        if speed:
            left = (self._batches.total_steps - step) / speed
            where += [f"{speed * images:,.0f} images/s", f"{minutes(left)} left"]
        # One line each, so that nothing is cut off on a terminal of 80 columns.
        lines = filter(None, ["  ".join(where), "  ".join(figures), self._standing])
        self._bar.update(self._task, completed=step, detail="\n".join(lines))

    def standing(self, text: str) -> None:
        self._standing = text

    def epoch(self, row: Mapping[str, float]) -> None:
        self.message(describe_epoch(row, self._epochs))

    def download(self, done: int, total: int) -> None:
        self._bar.start()
        self._bar.update(
            self._task,
            description="downloading",
            completed=done,
            total=total or None,
            detail=f"{done / 1e6:.0f} of {total / 1e6:.0f} MB",
            visible=True,
        )
        if done >= total:
            self._bar.stop()
            self._new_bar()


def describe_epoch(row: Mapping[str, float], epochs: int) -> str:
    """One line about a finished epoch."""
    parts = [f"epoch {row['epoch']:.0f}/{epochs}", f"loss {row['loss']:.3f}"]
    if "accuracy" in row:
        parts.append(f"accuracy {row['accuracy']:.1%}")
    if "validation_accuracy" in row:
        parts.append(f"validation {row['validation_accuracy']:.1%}")
    parts.append(f"{row['images_per_second']:,.0f} images/s")
    parts.append(minutes(row["seconds"]))
    return "  ".join(parts)


def minutes(seconds: float) -> str:
    """A duration as minutes and seconds, `3:05`."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
