"""How every figure looks, and how one is written to a file."""

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

# The report replaces each of these by a CSS variable, so that charts follow the page between
# light and dark; every colour of a chart must be one of them, possibly with an opacity.
INK = "#1c2733"
MUTED = "#5b6875"
LINE = "#dde3e9"
PAPER = "#ffffff"
HEAT = "#7fb2ec"
# Apart from each other in every common form of colour blindness, and 3:1 against the paper.
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
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p", "*", "h")  # for those who see no colours at all

LONGEST_LABEL = 20
_TITLE_INCHES = 0.5
DPI = 192  # twice that of a screen

# Of each format, what Matplotlib would note of itself and of the day.
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
    # A class may be called "$x_1$"; that is a name, not a formula.
    "text.parse_math": False,
    "axes.unicode_minus": True,
    # Text stays text: it is sharp, can be found and copied, and takes the font of the page.
    "svg.fonttype": "none",
    "svg.hashsalt": "thumbnet",  # the same figure gives the same file
}


class Chart(Figure):
    """A figure that shows itself as the last value of a notebook's cell.

    A plain `Figure` does so only after `%matplotlib inline`, since it does not come from pyplot,
    which keeps every figure in memory until it is closed.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture, and the size at which it is sharp on a screen of twice the density."""
        file = io.BytesIO()
        render(self, file, "png", PAPER)
        width, height = (round(inches * DPI / 2) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}

    def show(self, warn: bool = True) -> None:
        """Show the figure in a notebook.

        Args:
            warn: has no effect; `Figure.show` has it.

        Raises:
            InputError: this is no notebook.
        """
        shell = sys.modules.get("IPython")
        if shell is None or shell.get_ipython() is None:
            raise InputError(
                "a chart is shown in a notebook only; save it with figure.savefig('chart.png')"
            )
        shell.display.display(self)


@contextmanager
def style() -> Iterator[None]:
    """Matplotlib's settings for all figures; also a decorator for what draws one."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # Names in scripts that DejaVu Sans lacks: SVG leaves the choice of font to the viewer.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def label(name: str) -> str:
    """A name as a figure shows it: on one line, printable, and not too long."""
    printable = "".join(letter if letter.isprintable() else "·" for letter in name)
    if len(printable) > LONGEST_LABEL:
        return printable[: LONGEST_LABEL - 1] + "…"
    return printable


def file_label(name: str) -> str:
    """The name of an image as a figure shows it; the end of a long one, by which they differ."""
    printable = "".join(letter if letter.isprintable() else "·" for letter in name)
    if len(printable) > LONGEST_LABEL:
        return "…" + printable[1 - LONGEST_LABEL :]
    return printable


def add_title(figure: Figure, title: str, subtitle: str) -> None:
    """Say above a figure what it shows, and of which run and data.

    The figure grows by the height of the two lines; what it held keeps its size.
    """
    with style():
        figure.draw_without_rendering()  # gives the legends their size
        width, height = figure.get_size_inches()
        inches = height + _TITLE_INCHES
        below = height / inches
        figure.set_size_inches(width, inches)
        occupied = 0.0
        for legend in figure.legends:
            # A legend outside the axes goes to the top of the figure, where the title will be.
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
    """Write a figure, without a date, so that the same figure gives the same bytes.

    Args:
        figure: what to write.
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
    """Write a figure on white to a file, all of it or nothing.

    Raises:
        InputError: the name does not end in .png, .svg or .pdf.
        JobError: the file cannot be written.
    """
    path = Path(path)
    file_format = path.suffix.removeprefix(".").lower()
    if file_format not in FORMATS:
        raise InputError(f"{path}: give a name that ends in .png, .svg or .pdf")
    with replacing_path(path) as beside:
        render(figure, beside, file_format, PAPER)
