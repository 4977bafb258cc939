"""Matplotlib figures as inline SVG, in the page's colours and font."""

import io
import re
from xml.etree import ElementTree

from markupsafe import Markup
from matplotlib.figure import Figure

from thumbnet.figures.style import HEAT, INK, LINE, MUTED, PAPER, SERIES, render

_NAMESPACE = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAPER: "var(--surface)",
    HEAT: "var(--heat)",
} | {color: f"var(--series-{slot})" for slot, color in enumerate(SERIES)}
_COLOR = re.compile("|".join(_VARIABLES))
_PIXELS_PER_POINT = 96 / 72
# Fractions of the natural size; on a narrower screen the chart scrolls.
_SMALLEST, _LARGEST = 0.8, 1.2


def inline_svg(figure: Figure, prefix: str, description: str) -> Markup:
    """Turn a figure into an `<svg>` element for an HTML page.

    Args:
        figure: drawn in the colours of `thumbnet.figures.style`.
        prefix: prefix of every id, since ids must be unique in a page.
        description: text alternative for screen readers.
    """
    file = io.BytesIO()
    render(figure, file, "svg", "none")
    # Parsed instead of searched as text, since a class name may look like a colour, an id or a tag.
    root = ElementTree.fromstring(file.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{_NAMESPACE}metadata", f"{_NAMESPACE}style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.removeprefix(_NAMESPACE)
        if link := element.attrib.pop(_LINK, None):
            element.set("href", link)
        for name, value in element.items():
            element.set(name, _localise(name, value, prefix))
    width, height = (_PIXELS_PER_POINT * float(size) for size in root.attrib["viewBox"].split()[2:])
    root.set("width", f"{width:.0f}")
    root.set("height", f"{height:.0f}")
    smallest, largest = _SMALLEST * width, _LARGEST * width
    root.set("style", f"width: 100%; min-width: {smallest:.0f}px; max-width: {largest:.0f}px")
    root.set("role", "img")
    root.set("aria-label", description)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _localise(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == "href" and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    value = value.replace("url(#", f"url(#{prefix}-")
    return _COLOR.sub(lambda found: _VARIABLES[found[0]], value)
