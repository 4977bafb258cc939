"""`evaluate`, `compare`, `report` and `predict`: the subcommands for finished runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thumbnet.cli.console import echo
from thumbnet.cli.options import (
    REJECT_BELOW,
    DataOption,
    JsonOption,
    MaxMegapixelsOption,
    RejectBelowOption,
    RunArgument,
    RunsArgument,
    SourceOption,
    dataset_of,
    images_named,
    path_option,
)
from thumbnet.errors import InputError, shown

if TYPE_CHECKING:
    from thumbnet.runs.records import Metrics
    from thumbnet.runs.run import Run


def register(app: typer.Typer) -> None:
    """Add the subcommands to the command."""
    app.command(epilog="Example: thumbnet evaluate runs/demo/cnn --json")(evaluate)
    app.command(epilog="Example: thumbnet compare runs/demo/ann runs/demo/cnn")(compare)
    app.command(epilog="Example: thumbnet report runs/demo/ann runs/demo/cnn --out report.html")(
        report
    )
    app.command(epilog="Example: thumbnet predict runs/demo/cnn cat.jpg dog.png")(predict)


def evaluate(
    run: RunArgument,
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the per-class table as CSV.")
    ] = False,
    recomputed: Annotated[
        bool,
        typer.Option(
            "--recompute", help="Recompute all metrics from the predictions saved in the run."
        ),
    ] = False,
) -> None:
    """Show test metrics of a run, per class and averaged, and the confusion matrix."""
    from thumbnet.cli.tables import class_rows, print_csv, print_evaluation
    from thumbnet.evaluation.metrics import evaluate as evaluate_predictions
    from thumbnet.runs.run import Run

    opened = Run.open(run)
    metrics = opened.metrics()
    if recomputed:
        metrics = _recompute(opened, metrics)
    evaluation = evaluate_predictions(opened.predictions())
    if as_json:
        echo(json.dumps(metrics.model_dump() | evaluation.model_dump(), indent=2))
    elif as_csv:
        print_csv([row.model_dump() for row in class_rows(evaluation)])
    else:
        print_evaluation(opened, evaluation)


def _recompute(run: "Run", before: "Metrics") -> "Metrics":
    from thumbnet.runs.model_card import write_model_card
    from thumbnet.training.results import recompute

    metrics = recompute(run)
    write_model_card(run)
    new, old = metrics.model_dump(), before.model_dump()
    changed = [name for name in new if new[name] != old.get(name, object())]
    same = f"all {len(new)} entries are unchanged"
    verdict = f"changed: {', '.join(changed)}" if changed else same
    echo(f"{shown(run.metrics_path)} recomputed: {verdict}", error=True)
    return metrics


def compare(runs: RunsArgument, as_json: JsonOption = False) -> None:
    """Compare runs side by side, and test whether their differences are significant."""
    from thumbnet.cli.tables import comparison_values, print_comparison
    from thumbnet.runs.run import Run

    opened = [Run.open(run) for run in runs]
    if as_json:
        echo(json.dumps(comparison_values(opened), indent=2))
    else:
        print_comparison(opened)


def report(
    runs: RunsArgument,
    out: Annotated[
        Path | None,
        path_option("File to write. Default: report.html in the first run."),
    ] = None,
    data: DataOption = None,
    source: SourceOption = None,
) -> None:
    """Write a self-contained HTML report of one or more runs."""
    from thumbnet.report.build import build_report
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import choose_display

    opened = [Run.open(run) for run in runs]
    path = out or opened[0].report_path
    dataset = dataset_of(opened[0], data, source, choose_display())
    echo(f"Report: {shown(build_report(opened, path, dataset))}")


def predict(
    run: RunArgument,
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[IMAGE…]",
            help='Image files, folders, patterns such as "photos/*.jpg", or - for one image on '
            "standard input.",
            show_default=False,
        ),
    ] = None,
    files_from: Annotated[
        Path | None,
        path_option(
            "Read more paths from a file, one per line; - for standard input.", metavar="FILE"
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Number of classes to show per image.")] = 3,
    reject_below: RejectBelowOption = REJECT_BELOW,
    engine: Annotated[
        str | None,
        typer.Option(
            help="keras, or an export such as onnx or litert-int8. Default: the fastest installed "
            "export that is not quantised."
        ),
    ] = None,
    max_megapixels: MaxMegapixelsOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV, with the probability of every class.")
    ] = False,
) -> None:
    """Classify image files. Unreadable files are reported, and the others are still classified."""
    from thumbnet.cli.answers import (
        prediction_values,
        print_predictions,
        print_predictions_csv,
    )
    from thumbnet.engines.prediction import predict as predict_files

    if as_json and as_csv:
        raise InputError("--json and --csv cannot be combined; give only one of them")
    named = images_named(images or [], files_from)
    answers = predict_files(run, named, engine, max_megapixels or 50)
    if as_json:
        echo(json.dumps(prediction_values(answers, top, reject_below), indent=2))
    elif as_csv:
        print_predictions_csv(answers, answers.class_names, reject_below)
    else:
        print_predictions(answers, top, reject_below)
    if answers.uncalibrated:
        echo(f"thumbnet: probabilities are uncalibrated: {answers.uncalibrated}", error=True)
    failed = [answer for answer in answers if answer.error]
    for answer in failed:
        echo(f"thumbnet: {answer.error}", error=True)
    if failed:
        raise typer.Exit(2)
