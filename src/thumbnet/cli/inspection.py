"""`inspect`: describes a run directory before any of it is used."""

import json
from typing import TYPE_CHECKING

import typer

from thumbnet.cli.console import echo, new_table, show
from thumbnet.cli.options import JsonOption, RunArgument

if TYPE_CHECKING:
    from thumbnet.runs.inspection import Inspection


def register(app: typer.Typer) -> None:
    """Add the subcommand to the command."""
    app.command(epilog="Example: thumbnet inspect downloads/run")(inspect)


def inspect(
    run: RunArgument,
    as_json: JsonOption = False,
) -> None:
    """Show the contents of a run from somebody else, without opening its model."""
    from thumbnet.runs.inspection import inspect_run

    found = inspect_run(run)
    if as_json:
        echo(json.dumps(found.model_dump(), indent=2))
        return
    files = new_table("file", "bytes", "SHA-256")
    for file in found.files:
        digest = file.note or file.sha256 or ""
        files.add_cells(file.name, f"{file.bytes:,}", digest)
    show(files)
    if found.layers:
        layers = new_table("layer", "kind", "settings")
        for layer in found.layers:
            layers.add_cells(layer.name, layer.kind, layer.settings)
        show(layers)
    show("\n".join([*_describe(found), *(f"problem: {text}" for text in found.problems)]))


def _describe(found: "Inspection") -> list[str]:
    lines = [f"{found.path}: {'a finished run' if found.finished else 'an unfinished run'}"]
    if found.recipe:
        lines.append(f"recipe: {found.recipe}")
    if environment := found.environment:
        data = environment.data
        versions = ", ".join(f"{name} {text}" for name, text in environment.versions.items())
        names = ", ".join(data.class_names[:10]) + ", …" * (len(data.class_names) > 10)
        lines += [
            f"data: {data.name}, {len(data.class_names):,} classes: {names}",
            f"made with: format {environment.format_version}, Python {environment.python}, "
            f"{versions}; {environment.processor}, {environment.platform}",
        ]
    if metrics := found.metrics:
        lines += [
            f"accuracy: {metrics.accuracy:.2%} (95% CI {metrics.accuracy_low:.2%} to "
            f"{metrics.accuracy_high:.2%}) on {metrics.test_images:,} test images; macro F1 "
            f"{metrics.macro_f1:.4f}, log loss {metrics.log_loss:.4f}",
            f"model: {metrics.parameters:,} parameters; recorded SHA-256 {metrics.model_sha256}",
        ]
    return lines
