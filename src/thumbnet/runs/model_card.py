"""`MODEL_CARD.md`: the model card of a run in the Hugging Face format.

Format: https://huggingface.co/docs/hub/model-cards, with the results as a `model-index`.
"""

import json
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
        InputError: the run has not finished, or a file of it is damaged.
        JobError: the card cannot be written.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # JSON is valid YAML, and quotes any name safely.
    environment.filters |= {"json": json.dumps, "cell": _cell}
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


def _cell(name: Any) -> str:
    """A name in a table cell: on one line, with `|` escaped."""
    return " ".join(str(name).split()).replace("|", "\\|")
