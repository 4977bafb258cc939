"""`bench`: speed measurements on this machine."""

import dataclasses
import json
from typing import Annotated

import typer

from thumbnet.cli.console import echo, new_table, show
from thumbnet.cli.options import JsonOption, RunArgument

app = typer.Typer(help="Measure speed on this machine.", no_args_is_help=True)


@app.command(epilog="Example: thumbnet bench inference runs/demo/cnn")
def inference(run: RunArgument, as_json: JsonOption = False) -> None:
    """Measure throughput, latency and start-up time of Keras and of each installed export."""
    from thumbnet.bench.inference import measure_inference
    from thumbnet.cli.export_tables import print_inference
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import choose_display

    rows = measure_inference(Run.open(run), choose_display().message)
    if as_json:
        echo(json.dumps(rows, indent=2))
    else:
        print_inference(rows)


@app.command(epilog="Example: thumbnet bench machine --json")
def machine(as_json: JsonOption = False) -> None:
    """Measure matrix multiplication and memory bandwidth, to compare timings across machines."""
    from thumbnet.machine import measure_machine

    found = measure_machine()
    if as_json:
        echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    echo(f"processor  {found.processor}, {found.cores} cores, {found.threads} usable threads")
    echo(f"BLAS       {found.blas} on {found.blas_threads} threads, NumPy {found.numpy}")
    echo(f"sgemm      {found.sgemm_gflops:.0f} GFLOP/s, 4096×4096 float32")
    echo(f"memory     {found.bandwidth_gb_per_second:.1f} GB/s, a = b + s·c in float32")


@app.command(epilog="Example: thumbnet bench scaling cnn --steps 10")
def scaling(
    recipe: Annotated[
        str, typer.Argument(help="Name of a shipped recipe, or path of a .toml file.")
    ] = "cnn",
    steps: Annotated[int, typer.Option(min=1, help="Number of steps to time.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Time the same training steps with one process and with two, each pinned to one core."""
    from thumbnet.bench.scaling import measure_scaling
    from thumbnet.recipe import Recipe
    from thumbnet.training.progress import choose_display

    rows = measure_scaling(Recipe.read(recipe), steps, choose_display().message)
    if as_json:
        echo(json.dumps(rows, indent=2))
        return
    table = new_table("processes", "cores each", "images/s", "efficiency", "all-reduce per step")
    for row in rows:
        table.add_cells(
            *(str(row["processes"]), str(row["cores"]), f"{row['images_per_second']:,.0f}"),
            *(f"{row['efficiency']:.0%}", f"{row['reduced_bytes']:,} bytes"),
        )
    show(table)
