"""The style of all figures, and writing them to files."""

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from thumbnet.atomic import replacing_path
from thumbnet.errors import InputError
from thumbnet.figures.glyphs import with_all_glyphs

# The report replaces each of these with a CSS variable, so that charts follow the page's light or
# dark theme; every colour of a chart must be one of them, possibly with an opacity.
INK = "#1c2733"
MUTED = "#5b6875"
LINE = "#dde3e9"
PAPER = "#ffffff"
HEAT = "#7fb2ec"
# Distinguishable with every common form of colour blindness, with a contrast of 3:1 to the paper.
SERIES = (
    "#2a6fbb",
    "#cf6212",
    "#13877a",
    "#8a4fbf",
    "#c0304f",
    "#74770f",
    "#7a4a21",
    "#cc4f96",
    "#1f8fc4",
    "#333f4d",
)
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "*", "h")  # for readers who cannot see colours

LONGEST_LABEL = 20
_TITLE_INCHES = 0.5
DPI = 192  # twice that of a screen

# Metadata that Matplotlib would write to each format, such as the date.
FORMATS = {
    "svg": ("Creator", "Date", "Format", "Type"),
    "png": ("Software",),
    "pdf": ("Creator", "Producer", "CreationDate"),
}

_STYLE: dict[Any, Any] = {  # Matplotlib types the keys as a union of 300 literals
    "figure.facecolor": PAPER,  # in a notebook; files and the report name their own
    "axes.facecolor": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.borderpad": 0,
    "lines.linewidth": 1.8,
    # A class name like "$x_1$" is not a formula.
    "text.parse_math": False,
    "axes.unicode_minus": True,
    # Keep text as text: it is sharp, can be searched and copied, and uses the font of the page.
    "svg.fonttype": "none",
    "svg.hashsalt": "thumbnet",  # the same figure gives the same file
}


class Chart(Figure):
    """A figure that a notebook displays as the last value of a cell.

    A plain `Figure` that was not created by pyplot is displayed only after `%matplotlib inline`;
    pyplot keeps every figure in memory until it is closed.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The image, and its display size, at which it is sharp on a high-density screen."""
        file = io.BytesIO()
        render(self, file, "png", PAPER)
        width, height = (round(inches * DPI / 2) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}

    def show(self, warn: bool = True) -> None:
        """Show the figure in a notebook.

        Args:
            warn: has no effect; a parameter of `Figure.show`.

        Raises:
            InputError: this is not a notebook.
        """
        shell = sys.modules.get("IPython")
        if shell is None or shell.get_ipython() is None:
            raise InputError(
                "charts can be shown only in a notebook; save it with figure.savefig('chart.png')"
            )
        shell.display.display(self)


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings for all figures; also a decorator for functions that draw one."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # DejaVu Sans lacks some scripts, but in SVG the viewer chooses the font.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def label(name: str) -> str:
    """A name for a figure: on one line, printable and not too long."""
    printable = "".join(letter if letter.isprintable() else "·" for letter in name)
    if len(printable) > LONGEST_LABEL:
        return printable[: LONGEST_LABEL - 1] + "…"
    return printable


def file_label(name: str) -> str:
    """The name of an image for a figure; of a long name, only the end, which is distinctive."""
    printable = "".join(letter if letter.isprintable() else "·" for letter in name)
    if len(printable) > LONGEST_LABEL:
        return "…" + printable[1 - LONGEST_LABEL :]
    return printable


def add_title(figure: Figure, title: str, subtitle: str) -> None:
    """Add a title and a subtitle above a figure.

    The figure grows by the height of the two lines; its content keeps its size.
    """
    with style():
        figure.draw_without_rendering()  # gives the legends their size
        width, height = figure.get_size_inches()
        inches = height + _TITLE_INCHES
        below = height / inches
        figure.set_size_inches(width, inches)
        occupied = 0.0
        for legend in figure.legends:
            # Move a legend above the axes down, to make room for the title.
            legend.set_bbox_to_anchor((0, 0, 1, below), figure.transFigure)
            occupied += legend.get_window_extent().height / figure.dpi / inches
        engine = figure.get_layout_engine()
        if isinstance(engine, ConstrainedLayoutEngine):
            engine.set(rect=(0, 0, 1, below - occupied))
        else:
            for axes in figure.axes:
                left, bottom, own_width, own_height = axes.get_position().bounds
                axes.set_position((left, bottom * below, own_width, own_height * below))
        place: dict[str, Any] = {"ha": "left", "va": "top", "wrap": False}
        figure.text(0.08 / width, 1 - 0.08 / inches, title, fontsize=11, weight="bold", **place)
        figure.text(0.08 / width, 1 - 0.28 / inches, subtitle, fontsize=9, color=MUTED, **place)


def render(figure: Figure, target: Path | IO[bytes], file_format: str, background: str) -> None:
    """Write a figure without a date, so that the same figure gives the same bytes.

    Args:
        figure: the figure to write.
        target: a path or an open binary file.
        file_format: one of `FORMATS`.
        background: a colour, or "none".
    """
    with style(), nullcontext() if file_format == "svg" else with_all_glyphs(figure):
        figure.savefig(
            target,
            format=file_format,
            dpi=DPI,
            facecolor=background,
            metadata=dict.fromkeys(FORMATS[file_format]),
        )


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure on a white background to a file, atomically.

    Raises:
        InputError: the file name does not end in .png, .svg or .pdf.
        JobError: the file cannot be written.
    """
    path = Path(path)
    file_format = path.suffix.removeprefix(".").lower()
    if file_format not in FORMATS:
        raise InputError(f"{path}: use a file name that ends in .png, .svg or .pdf")
    with replacing_path(path) as temporary:
        render(figure, temporary, file_format, PAPER)
