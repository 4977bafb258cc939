"""`MODEL_CARD.md`: the model card of a run in the Hugging Face format.

Format: https://huggingface.co/docs/hub/model-cards, with the results as a `model-index`.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

import jinja2

from thumbnet.atomic import write_text
from thumbnet.runs.run import Run

_TEMPLATE = Path(__file__).parent / "model_card.md.j2"


def write_model_card(run: Run) -> Path:
    """Write the card of a finished run into its directory.

    Returns:
        The path of the card.

    Raises:
        InputError: the run has not finished, or one of its files is damaged.
        JobError: the card cannot be written.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_escaped
    )
    environment.filters |= {"json": _json, "code": _code, "fenced": _fenced}
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    text = template.render(
        metrics=run.metrics(),
        data_source=run.data_source(),
        recipe=run.recipe(),
        environment=run.environment(),
        robustness=run.robustness(),
        audit=run.audit(),
    )
    write_text(run.model_card_path, text)
    return run.model_card_path


class _Written(str):
    """Text that is already Markdown or YAML."""


def _escaped(value: Any) -> Any:
    """Escape a text so that Markdown shows it literally, on one line."""
    if not isinstance(value, str) or isinstance(value, _Written):
        return value
    text = html.escape(" ".join(value.split()), quote=False)
    text = re.sub(r"[\\`*_\[\]|~$!]", r"\\\g<0>", text)
    text = text.replace("://", "&#58;//")  # GitHub turns URLs into links
    text = re.sub(r"\bwww\.", "www&#46;", text, flags=re.IGNORECASE)
    # At the beginning of a line: headings, lists and lines below headings.
    return re.sub(r"^(?=[#+=-])|^(\d+)(?=[.)](?: |$))", r"\1\\", text)


def _json(value: Any) -> _Written:
    """A value as JSON, which is valid YAML: a name may contain quotes and colons."""
    # YAML does not support JSON's escapes of characters such as emoji.
    return _Written(json.dumps(value, ensure_ascii=False))


def _code(text: str) -> _Written:
    """A code span."""
    line = " ".join(text.split()).replace("|", "\\|")
    ticks = _longer_than_in(line, 1)
    return _Written(f"{ticks} {line} {ticks}" if "`" in line else f"{ticks}{line}{ticks}")


def _fenced(text: str, language: str) -> _Written:
    """A fenced code block."""
    ticks = _longer_than_in(text, 3)
    return _Written(f"{ticks}{language}\n{text}{ticks}")


def _longer_than_in(text: str, least: int) -> str:
    """A sequence of backticks that is longer than any in the text."""
    return "`" * max([least, *(len(found) + 1 for found in re.findall("`+", text))])
