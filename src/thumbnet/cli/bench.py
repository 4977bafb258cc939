"""`bench`: measuring this machine, and what runs on it."""

import json

import typer

from thumbnet.cli.options import JsonOption, RunArgument

app = typer.Typer(help="Measure speed on this machine.", no_args_is_help=True)


@app.command(epilog="Example: thumbnet bench inference runs/demo/cnn")
def inference(run: RunArgument, as_json: JsonOption = False) -> None:
    """Time Keras and each export whose runtime is installed: batches, one image, start-up."""
    from thumbnet.bench.inference import measure_inference
    from thumbnet.cli.exports import print_inference
    from thumbnet.progress import choose_display
    from thumbnet.run import Run

    rows = measure_inference(Run.open(run), choose_display().message)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        print_inference(rows)
