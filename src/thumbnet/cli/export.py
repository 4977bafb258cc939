"""`export`: convert a run's model for other runtimes."""

import json
from typing import Annotated, Literal

import typer

from thumbnet.cli.console import echo
from thumbnet.cli.options import DataOption, JsonOption, RunArgument, SourceOption, dataset_of


def register(app: typer.Typer) -> None:
    """Add the subcommand to the command."""
    app.command(epilog="Example: thumbnet export runs/demo/cnn --to litert")(export)


def export(
    run: RunArgument,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="The format to export to: onnx, openvino, litert, savedmodel, web, or one that an "
            "installed package adds.",
        ),
    ],
    quantize: Annotated[
        Literal["int8"] | None,
        typer.Option(help="Quantise to 8-bit integers, calibrated on training images."),
    ] = None,
    data: DataOption = None,
    source: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export the model to another runtime, open it there, and compare its outputs with Keras."""
    from thumbnet.export import export_run
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import choose_display

    display, opened = choose_display(), Run.open(run)
    opened.metrics()  # refuses an unfinished run before anything is loaded
    dataset = dataset_of(opened, data, source, display)
    if to == "web":
        from thumbnet.cli.export_tables import print_web_export
        from thumbnet.export.web.export import export_web

        page = export_web(opened, dataset, display.message, quantize == "int8")
        if as_json:
            echo(json.dumps(page.model_dump(), indent=2))
        else:
            print_web_export(opened, page)
        return
    record = export_run(opened, to, dataset, display.message, quantize == "int8")
    if as_json:
        echo(json.dumps(record.model_dump(), indent=2))
        return
    from thumbnet.cli.export_tables import print_export

    print_export(opened, to + f"-{quantize}" * bool(quantize), record)
