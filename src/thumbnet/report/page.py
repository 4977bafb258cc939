"""Renders templates into self-contained HTML pages."""

import base64
import hashlib
import shlex
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from thumbnet.report import words

_HERE = Path(__file__).parent


def render_page(template: str | Path, **values: Any) -> str:
    """Render a template that extends `page.html.j2`, with style and script inlined.

    Args:
        template: the path of the template, or its name in this directory.
        values: variables of the template.
    """
    template = _HERE / template
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([_HERE, template.parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "duration": words.duration,
        "whole": words.whole,
        "quote": shlex.quote,
        "css_string": _css_string,
    }
    script = (_HERE / "script.js").read_text(encoding="utf-8")
    page = environment.get_template(template.name).render(
        words=words,
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )
    # The templates' macros leave blank lines before the document type.
    return page.lstrip()


def _css_string(text: Markup) -> Markup:
    """Escaped HTML as a CSS string, without any character that could end the string."""
    plain = Markup(text).unescape()
    letters = (c if c.isalnum() or c in " .,-" else f"\\{ord(c):x} " for c in plain)
    return Markup('"' + "".join(letters) + '"')
