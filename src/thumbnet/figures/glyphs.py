"""Names in any script in bitmap figures; in SVG the viewer chooses the font."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

# Colour emoji cannot be drawn, and the last resort font only has boxes.
_NO_LETTERS = ("emoji", "lastresort")


@contextmanager
def with_all_glyphs(figure: Figure) -> Iterator[None]:
    r"""Add installed fonts that have all letters of a figure; escape letters that no font has.

    Without a suitable font, a Chinese name becomes "\u6f22\u5b57" instead of two boxes.
    """
    figure.draw_without_rendering()  # creates the tick labels
    texts = figure.findobj(Text)
    letters = frozenset("".join(text.get_text() for text in texts if isinstance(text, Text)))
    families, missing = _fonts_for(letters)
    if not families and not missing:
        yield
        return
    numbers = {ord(letter): letter.encode("unicode_escape").decode() for letter in missing}
    before = []
    for text in texts:
        assert isinstance(text, Text)
        before.append((text, text.get_text(), text.get_fontfamily()))
        text.set_fontfamily([*text.get_fontfamily(), *families])
        text.set_text(text.get_text().translate(numbers))
    # The tick labels are created again whenever the axes are drawn.
    named = [
        (axis, formatter)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        if isinstance(formatter := axis.get_major_formatter(), FuncFormatter)
    ]
    for axis, formatter in named:
        axis.set_major_formatter(_translated(formatter, numbers))
    try:
        yield
    finally:
        for axis, formatter in named:
            axis.set_major_formatter(formatter)
        for text, content, family in before:
            text.set_text(content)
            text.set_fontfamily(family)


def _translated(formatter: FuncFormatter, numbers: dict[int, str]) -> FuncFormatter:
    return FuncFormatter(lambda value, place: formatter(value, place).translate(numbers))


@lru_cache(maxsize=64)
def _fonts_for(letters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Font families for the letters that the default font lacks, and letters that no font has."""
    wanted = {letter for letter in letters if not letter.isspace()}
    wanted -= _letters_of(findfont(FontProperties()), wanted)
    families = []
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, font.fname)):
        if any(name in Path(font.fname).name.lower() for name in _NO_LETTERS):
            continue
        found = _letters_of(font.fname, wanted)
        if found:
            families.append(font.name)
        wanted -= found
    return tuple(families), frozenset(wanted)


def _letters_of(path: str, letters: set[str]) -> set[str]:
    """The subset of the letters that a font file has."""
    try:
        glyphs = get_font(path).get_charmap()
    except (OSError, RuntimeError, ValueError):
        return set()
    return {letter for letter in letters if ord(letter) in glyphs}
