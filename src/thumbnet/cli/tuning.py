"""`tune`: the search for a better recipe."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from thumbnet.cli.options import DataOption, JsonOption, SourceOption, load_dataset, parse_duration
from thumbnet.errors import InputError

if TYPE_CHECKING:
    from thumbnet.data.dataset import Dataset
    from thumbnet.progress import Display
    from thumbnet.tuning.study import Plan, Tuning


def register(app: typer.Typer) -> None:
    """Add the subcommand to the command."""
    app.command(epilog="Example: thumbnet tune cnn --out runs/search --budget 30m")(tune)


def tune(
    recipe: Annotated[
        str | None, typer.Argument(help="Where to start: a shipped recipe, or a .toml file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Directory of the search: new or empty.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIRECTORY", help="Go on with a search, or help another worker."),
    ] = None,
    data: DataOption = None,
    source: SourceOption = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="For how long to try, such as 30m, over all sittings."),
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many to try.")] = None,
    objective: Annotated[
        Literal["accuracy", "accuracy,cost"],
        typer.Option(help="The validation accuracy alone, or the best for every cost."),
    ] = "accuracy",
    max_cost: Annotated[
        float,
        typer.Option(min=0.01, help="How many times the recipe's own arithmetic a trial may take."),
    ] = 1.0,
    space: Annotated[
        Path | None,
        typer.Option(
            help="What to vary. By default NAME.space.toml beside NAME.toml, or what comes with "
            "the architecture."
        ),
    ] = None,
    storage: Annotated[
        str, typer.Option(metavar="URL", help="A database instead of a journal in the directory.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the sampler.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Search for a better recipe on the validation split, and write it as best.toml."""
    from thumbnet.progress import choose_display

    try:
        import optuna as _  # noqa: F401

        from thumbnet.tuning.findings import write_findings
        from thumbnet.tuning.study import Tuning, search
    except ModuleNotFoundError as error:
        raise InputError(f"tune needs {error.name}: pip install 'thumbnet[tune]'") from error

    display = choose_display()
    if resume is not None:
        if recipe or out or budget or trials or space or storage:
            raise InputError("--resume goes on with a search as it was begun; it takes no others")
        tuning = Tuning(resume)
        dataset = _dataset_again(tuning.plan(), data, source, display)
    elif recipe is None or out is None:
        raise InputError("give a recipe and --out DIRECTORY, or --resume DIRECTORY")
    elif budget is None and trials is None:
        raise InputError("say how much to try, by --budget 30m or --trials 20")
    else:
        dataset = load_dataset(data, source, display)
        seconds = parse_duration(budget) if budget else 0.0
        plan = _plan(
            recipe, space, dataset, objective, seconds, trials or 0, max_cost, storage, seed
        )
        tuning = Tuning.begin(out, plan)
    try:
        search(tuning, dataset, display)
    finally:
        findings = write_findings(tuning)
    if as_json:
        typer.echo(json.dumps(findings, indent=2))
        return
    _print_findings(tuning, findings)


def _plan(
    recipe_name: str,
    space_path: Path | None,
    dataset: "Dataset",
    objective: str,
    budget_seconds: float,
    trials: int,
    max_cost: float,
    storage: str,
    seed: int,
) -> "Plan":
    from thumbnet.recipe import Recipe
    from thumbnet.training import planned_flop
    from thumbnet.tuning.space import neighbour, space_text
    from thumbnet.tuning.study import Plan

    base = Recipe.read(recipe_name)
    # Nothing but the epochs ends a trial, and all are compared on the same images.
    base = base.override(
        {"stopping.patience": 0, "stopping.budget_seconds": 0, "stopping.until_accuracy": 0}
    )
    if not base.validation and dataset.validation is None:
        raise InputError("a search needs validation images; set validation above 0 in the recipe")
    text = space_text(base, space_path or neighbour(recipe_name))
    return Plan(
        recipe=base.to_toml(),
        space=text,
        data={
            "name": dataset.name,
            "path": str(dataset.path.resolve()) if dataset.path else None,
            "reading": dataset.reading.model_dump(),
            "digests": dataset.digests,
        },
        objectives=tuple(objective.split(",")),
        budget_seconds=budget_seconds,
        trials=trials,
        cost_limit=max_cost * planned_flop(base, dataset),
        storage=storage,
        seed=seed,
    )


def _dataset_again(
    plan: "Plan", data: str | None, source: str | None, display: "Display"
) -> "Dataset":
    if data is None and source is None:
        data = plan.data["path"]
        if data is None and plan.data["name"] == "cifar10-sample":
            source = "sample"
    dataset = load_dataset(data, source, display, **plan.data["reading"])
    if dataset.digests != plan.data["digests"]:
        raise InputError("the search was begun with other images; name them by --data or --source")
    return dataset


def _print_findings(tuning: "Tuning", findings: dict[str, Any]) -> None:
    counts = findings["trials"]
    typer.echo(
        f"{counts['COMPLETE']} trials finished, {counts['PRUNED']} given up, {counts['FAIL']} "
        f"failed or lost, {findings['too_dear']} too dear to try; {findings['seconds']:.0f} s"
    )
    for best in findings["best"]:
        typer.echo(
            f"{best['directory']}: validation {best['validation_accuracy']:.2%}, "
            f"{best['train_flops'] / 1e12:.3g} TFLOP"
        )
    for name, share in findings["importances"].items():
        typer.echo(f"  {name:28} {share:6.1%}")
    if findings["best"]:
        typer.echo(f"Best recipe: {tuning.path / 'best.toml'}")
