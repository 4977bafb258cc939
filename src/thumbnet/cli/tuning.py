"""`tune`: search for a better recipe."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from thumbnet.cli.completion import complete_recipe
from thumbnet.cli.console import echo
from thumbnet.cli.options import (
    DataOption,
    GroupOption,
    ImageSizeOption,
    JsonOption,
    LabelOption,
    MaxMegapixelsOption,
    OnBadImageOption,
    PathColumnOption,
    RequireTestOption,
    SourceOption,
    load_dataset,
    parse_duration,
    path_option,
    recorded_place,
)
from thumbnet.errors import InputError, JobError, ThumbnetError, shown
from thumbnet.installing import install_command

if TYPE_CHECKING:
    from thumbnet.data.dataset import Dataset
    from thumbnet.training.progress import Display
    from thumbnet.tuning.findings import Findings
    from thumbnet.tuning.study import Plan, Tuning


def register(app: typer.Typer) -> None:
    """Add the subcommand to the command."""
    app.command(epilog="Example: thumbnet tune cnn --out runs/search --budget 30m")(tune)


def tune(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Initial recipe: the name of a shipped recipe, or a .toml file.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    out: Annotated[Path | None, path_option("Directory for the search; new or empty.")] = None,
    resume: Annotated[
        Path | None,
        path_option(
            "Continue a search, or join a running one as another worker.", metavar="DIRECTORY"
        ),
    ] = None,
    data: DataOption = None,
    source: SourceOption = None,
    image_size: ImageSizeOption = None,
    label: LabelOption = None,
    path_column: PathColumnOption = None,
    on_bad_image: OnBadImageOption = None,
    max_megapixels: MaxMegapixelsOption = None,
    group: GroupOption = None,
    require_test: RequireTestOption = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Total search time, such as 30m; resuming continues it."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Number of trials.")] = None,
    objective: Annotated[
        Literal["accuracy", "accuracy,cost"],
        typer.Option(
            help="Maximise validation accuracy, or find the Pareto front of accuracy and FLOP."
        ),
    ] = "accuracy",
    max_cost: Annotated[
        float,
        typer.Option(
            min=0.01, help="Training FLOP limit of a trial, as a multiple of the initial recipe's."
        ),
    ] = 1.0,
    screen: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.9,
            metavar="FRACTION",
            help="Train each recipe on this fraction of the images first, and only the best "
            "quarter on all; 0 trains every recipe on all images.",
        ),
    ] = 0.0,
    space: Annotated[
        Path | None,
        path_option(
            "Search space (TOML). Default: NAME.space.toml next to NAME.toml, or the space shipped "
            "for the architecture."
        ),
    ] = None,
    storage: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Database to use instead of a journal in the directory; give it again with "
            "--resume.",
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of the sampler.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Search for a better recipe on the validation split; writes best.toml and a report."""
    from thumbnet.recipe import Recipe
    from thumbnet.training.progress import choose_display

    try:
        import optuna as _  # noqa: F401

        from thumbnet.tuning.artifacts import write_findings
        from thumbnet.tuning.search import search
        from thumbnet.tuning.space import neighbour
        from thumbnet.tuning.study import Plan, Tuning
    except ModuleNotFoundError as error:
        raise InputError(f"tune needs {error.name}: {install_command('tune')}") from error

    display = choose_display()
    if resume is not None:
        if recipe or out or budget or trials or screen or space:
            raise InputError(
                "--resume continues a search with its original options; leave out RECIPE, --out, "
                "--budget, --trials, --screen and --space"
            )
        tuning = Tuning(resume, storage)
        tuning.study()  # refuses what cannot be continued before the images are loaded
        dataset = _dataset_again(tuning.plan(), data, source, display)
    elif recipe is None or out is None:
        raise InputError("give a recipe and --out DIRECTORY, or --resume DIRECTORY")
    elif screen and objective != "accuracy":
        raise InputError("--screen works only with --objective accuracy; leave one of them out")
    elif budget is None and trials is None:
        raise InputError("set --budget, such as 30m, or --trials, such as 20")
    else:
        reading = {
            "image_size": image_size,
            "label": label,
            "path_column": path_column,
            "on_bad_image": on_bad_image,
            "max_megapixels": max_megapixels,
            "group": group,
            "require_test": require_test,
        }
        dataset = load_dataset(data, source, display, **reading)
        plan = Plan.make(
            Recipe.read(recipe),
            space or neighbour(recipe),
            dataset,
            name=out.resolve().name,
            objectives=("accuracy",) if objective == "accuracy" else ("accuracy", "cost"),
            budget_seconds=parse_duration(budget) if budget else 0.0,
            trials=trials or 0,
            screen=screen,
            max_cost=max_cost,
            storage=storage,
            seed=seed,
        )
        tuning = Tuning.begin(out, plan)
    try:
        search(tuning, dataset, display)
    except BaseException:
        with suppress(ThumbnetError):  # report the error that ended the search, not this one
            write_findings(tuning)
        raise
    findings = write_findings(tuning)
    if not findings.best:
        raise JobError(
            f"no trial in {tuning.path} has finished; start a new search with a larger --budget "
            "or a different --max-cost"
        )
    if as_json:
        echo(json.dumps(findings.record().model_dump(), indent=2))
        return
    _print_findings(tuning, findings)


def _dataset_again(
    plan: "Plan", data: str | None, source: str | None, display: "Display"
) -> "Dataset":
    if data is None and source is None:
        data = recorded_place(plan.data.path)
        if data is None and plan.data.name == "cifar10-sample":
            source = "sample"
    from thumbnet.data.reading import Reading

    reading = Reading.check(plan.data.reading).model_dump()
    dataset = load_dataset(data, source, display, **reading)
    if dataset.digests != plan.data.digests:
        raise InputError(
            "the search was started with different images; name those with --data or --source"
        )
    return dataset


def _print_findings(tuning: "Tuning", findings: "Findings") -> None:
    counts = ", ".join(f"{count} {state}" for state, count in findings.counts().items())
    echo(f"Trials: {counts}; {findings.seconds:.0f} s")
    for best in findings.best:
        echo(
            f"{shown(best.directory)}: validation {best.accuracy:.2%}, "
            f"{(best.flop or 0) / 1e12:.3g} TFLOP"
        )
    for name, importance in findings.importances.items():
        echo(f"  {shown(name):28} {importance:6.1%}")
    echo(f"Best recipe: {shown(tuning.best_path)}")
    echo(f"Report: {shown(tuning.report_path)}")
