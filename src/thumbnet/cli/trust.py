"""`robustness`, `explain`, `audit` and `curve`: analyses too slow to run after every training."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thumbnet.cli.console import echo
from thumbnet.cli.options import (
    DataOption,
    JsonOption,
    RunArgument,
    SourceOption,
    dataset_of,
    path_option,
)
from thumbnet.errors import InputError, shown

if TYPE_CHECKING:
    from thumbnet.data.dataset import Dataset
    from thumbnet.runs.run import Run


def register(app: typer.Typer) -> None:
    """Add the subcommands to the command."""
    app.command(epilog="Example: thumbnet robustness runs/demo/cnn")(robustness)
    app.command(epilog="Example: thumbnet explain runs/demo/cnn cat.jpg --out why.png")(explain)
    app.command(epilog="Example: thumbnet audit runs/demo/cnn")(audit)
    app.command(epilog="Example: thumbnet curve runs/pets")(curve)


def robustness(
    run: RunArgument,
    data: Annotated[
        list[Path] | None,
        path_option(
            "Test on a published test set instead: CIFAR-10-C.tar, its folder, or the folder of "
            "CIFAR-10.1.",
            "--data",
        ),
    ] = None,
    images: Annotated[
        int, typer.Option(min=0, help="Size of the random sample of test images; 0 for all.")
    ] = 1_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample and the noise.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Test on corrupted, mirrored, shifted and adversarial images; the report shows the results."""
    from thumbnet.cli.tables import print_robustness
    from thumbnet.robustness.benchmarks import read_benchmark
    from thumbnet.robustness.measure import measure_benchmark, measure_robustness
    from thumbnet.runs.model_card import write_model_card
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import choose_display

    display, opened = choose_display(), Run.open(run)
    test = _images_of(opened, None, None).test
    if data:
        for path in data:
            found = measure_benchmark(opened, read_benchmark(path, test.labels), display.message)
    else:
        found = measure_robustness(opened, test, display.message, images, seed)
    write_model_card(opened)
    if as_json:
        echo(json.dumps(found.model_dump(), indent=2))
    else:
        print_robustness(opened, found)


def explain(
    run: RunArgument,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[IMAGE…]",
            help="Image files; without any, a gallery of test images for the report.",
        ),
    ] = None,
    out: Annotated[
        Path, path_option("File to write for the given images: .png, .svg or .pdf.")
    ] = Path("explanation.png"),
    data: DataOption = None,
    source: SourceOption = None,
) -> None:
    """Explain predictions: Grad-CAM, integrated gradients, first-layer filters, features."""
    from thumbnet.interpretation.explain import explain_files, explain_run
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import choose_display

    opened = Run.open(run)
    if images:
        echo(f"Image: {shown(explain_files(opened, images, out))}")
        return
    test = _images_of(opened, data, source).test
    explain_run(opened, test, choose_display().message)
    echo(f"Explanations: {shown(opened.explanations_path)}")


def audit(
    run: RunArgument,
    data: DataOption = None,
    source: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find near-duplicates of test images among the training images."""
    from thumbnet.cli.tables import describe_audit
    from thumbnet.robustness.audit import audit as audit_run
    from thumbnet.runs.model_card import write_model_card
    from thumbnet.runs.run import Run

    opened = Run.open(run)
    found = audit_run(opened, _images_of(opened, data, source))
    write_model_card(opened)
    text = json.dumps(found.model_dump(), indent=2) if as_json else describe_audit(opened, found)
    echo(text)


def curve(
    run: RunArgument,
    data: DataOption = None,
    source: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the learning curve, and estimate the gain from more training images.

    Trains twice more, on a quarter and on half of the training images.
    """
    from thumbnet.cli.tables import print_learning_curve
    from thumbnet.curve import measure_learning_curve
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import choose_display

    opened = Run.open(run)
    found = measure_learning_curve(opened, _images_of(opened, data, source), choose_display())
    if as_json:
        echo(json.dumps(found.model_dump(), indent=2))
    else:
        print_learning_curve(opened, found)


def _images_of(run: "Run", data: str | None, source: str | None) -> "Dataset":
    """The images that a run was trained on.

    Raises:
        InputError: they are not available, or they have changed.
    """
    from thumbnet.training.progress import choose_display

    run.metrics()  # refuses an unfinished run before anything is loaded
    dataset = dataset_of(run, data, source, choose_display())
    if dataset is None:
        raise InputError(
            f"the images that {run.path} was trained on are not available; `thumbnet data fetch` "
            "downloads CIFAR-10; use --data or --source for other images"
        )
    if dataset.digests != run.environment().data.digests:
        raise InputError(
            f"{run.path} was not trained on the images from {dataset.source}; name the images of "
            "the run with --data or --source"
        )
    return dataset
