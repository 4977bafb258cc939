"""Write the reference pages generated from the code: docs/command.md and docs/run_files.md.

    python tools/make_reference.py

A test compares both pages with the code, so that they stay up to date.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click

from thumbnet.cli import app
from thumbnet.evaluation import records as evaluation_records
from thumbnet.runs import records

DOCS = Path(__file__).parent.parent / "docs"
_MODULES = (evaluation_records.__name__, records.__name__)


def command_page() -> str:
    """Every subcommand with its arguments and options."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="thumbnet")
    text = get_docs_for_click(obj=command, ctx=context, name="thumbnet")
    text = re.sub(r"</?span[^>]*>", "", text)
    return f"<!-- Made by tools/make_reference.py. -->\n\n{text.strip()}\n"


def run_files_page() -> str:
    """Every record of a run directory with its fields."""
    sections = [
        "<!-- Made by tools/make_reference.py. -->",
        "# Records of a run",
        "The JSON files of a run directory, field by field. `thumbnet.Run` reads them: "
        "`run.metrics().accuracy`.",
    ]
    for name, record in sorted((vars(evaluation_records) | vars(records)).items()):
        # Pydantic adds parametrised types such as "RootModel[…]" to a module; they are no records.
        if name.isidentifier() and inspect.isclass(record) and record.__module__ in _MODULES:
            sections.extend(_describe(name, record))
    return "\n\n".join(sections) + "\n"


def _describe(name: str, record: Any) -> Iterator[str]:
    yield f"## {name}"
    yield inspect.cleandoc(record.__doc__ or "").split("\n\nAttributes:")[0]
    explained = {
        attribute: text for parent in reversed(record.__mro__) for attribute, text in _read(parent)
    }
    properties = record.model_json_schema().get("properties", {})
    if rows := [
        f"| `{field}` | {_type(schema)} | {explained.get(field, '')} |"
        for field, schema in properties.items()
    ]:
        yield "\n".join(["| field | JSON type | meaning |", "| --- | --- | --- |", *rows])


def _read(record: Any) -> Iterator[tuple[str, str]]:
    """The attributes that a docstring documents; one line may name several."""
    _, _, listed = inspect.cleandoc(record.__doc__ or "").partition("Attributes:\n")
    for names, text in re.findall(r"^    (\w[\w, ]*): (.*(?:\n        .*)*)", listed, re.MULTILINE):
        for name in names.split(", "):
            yield name, re.sub(r"\s+", " ", text)


def _type(schema: dict[str, Any]) -> str:
    """The JSON type of a field in words."""
    if options := schema.get("anyOf"):
        return " or ".join(map(_type, options))
    if reference := schema.get("$ref"):
        return str(reference).rpartition("/")[2]
    if schema.get("type") == "array" and "items" in schema:
        return f"array of {_type(schema['items'])}"
    return str(schema.get("type", "text" if "pattern" in schema else "any"))


def pages() -> dict[Path, str]:
    """The text of each page by its path."""
    return {DOCS / "command.md": command_page(), DOCS / "run_files.md": run_files_page()}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
