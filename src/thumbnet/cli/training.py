"""`run`, `train` and `recipes`: the subcommands for training."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from thumbnet.cli.completion import complete_recipe, complete_run
from thumbnet.cli.console import echo
from thumbnet.cli.options import (
    DataOption,
    ExportOption,
    GroupOption,
    ImageSizeOption,
    LabelOption,
    MaxMegapixelsOption,
    OnBadImageOption,
    OverwriteOption,
    PathColumnOption,
    QuietOption,
    RequireTestOption,
    SourceOption,
    dataset_to_resume,
    load_dataset,
    parse_duration,
    parse_settings,
    path_option,
)
from thumbnet.errors import InputError, shown
from thumbnet.paths import expanded

if TYPE_CHECKING:
    import keras

    from thumbnet.auto import Plan
    from thumbnet.data.dataset import Dataset
    from thumbnet.parallel.processes import Processes
    from thumbnet.recipe import Recipe
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import Display

SeedOption = Annotated[
    int | None, typer.Option(help="Seed of the split, the weights and the augmentation.")
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Training time per run, such as 90s or 5m; the learning rate schedule adapts to it.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the subcommands to the command."""
    app.command(epilog="Example: thumbnet run --out runs/demo")(run)
    app.command(epilog="Example: thumbnet train cnn --out runs/mine --set model.dropout=0.2")(train)
    app.command(epilog="Example: thumbnet recipes cnn > mine.toml")(recipes)


def run(
    out: Annotated[Path, path_option("Directory for the runs and the report.")] = Path("runs/demo"),
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="Recipe to train; repeat the option for more. Default: ann and cnn.",
            autocompletion=complete_recipe,
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
    seed: SeedOption = None,
    budget: BudgetOption = None,
    export: ExportOption = True,
    analyze: Annotated[
        bool,
        typer.Option(
            help="Explain predictions and measure robustness on a few test images, for the report."
        ),
    ] = True,
    quiet: QuietOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Train an ANN and a CNN on CIFAR-10, compare them, and write a report.

    Existing runs are kept if finished, and resumed if not.
    """
    from thumbnet.recipe import Recipe

    settings = _settings(seed=seed, budget=budget)
    chosen = [Recipe.read(name).override(settings) for name in recipe or ["ann", "cnn"]]
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise InputError(
            f"two recipes have the same name: {', '.join(names)}; give each a different name"
        )
    for one in chosen:
        _require_usable(one, out / one.name, overwrite)
    _announce(", ".join(names), quiet)
    from thumbnet.cli.finish import analyze_for_report, export_for_prediction
    from thumbnet.cli.tables import print_comparison
    from thumbnet.training.progress import choose_display

    display = choose_display(quiet)
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
    runs = [_train_or_resume(one, dataset, out / one.name, display) for one in chosen]
    if analyze:
        for finished in runs:
            analyze_for_report(finished, dataset, display)

    from thumbnet.report.build import build_report

    report = build_report(runs, out / "report.html", dataset)
    if export:
        for finished in runs:
            export_for_prediction(finished, dataset, display)
    print_comparison(runs)
    echo(f"Report: {shown(report)}")


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="Name of a shipped recipe, path of a .toml file, or auto, which chooses one for "
            "the data. Default with --data: auto.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    out: Annotated[Path | None, path_option("Run directory; new or empty.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN|BACKBONE",
            parser=lambda text: str(expanded(text)),
            help="Start from the weights of a finished run, or of a network trained on ImageNet: "
            "efficientnet_lite0, mobilenet_v2 or efficientnet_v2_b0. With scratch, auto starts "
            "from random weights.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        path_option(
            "Resume this run; other options need not be given again.",
            metavar="RUN",
            autocompletion=complete_run,
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
    seed: SeedOption = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None,
    validation: Annotated[
        float | None,
        typer.Option(
            help="Fraction of the training images to hold out for validation; 0 for none."
        ),
    ] = None,
    budget: BudgetOption = None,
    target_accuracy: Annotated[
        float | None, typer.Option(help="Stop once this validation accuracy is reached.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value of the recipe. With --resume: only the learning rate and the "
            "stopping rules.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Train this many runs with consecutive seeds from --seed, in OUT/seed-0 and so "
            "on.",
        ),
    ] = None,
    deterministic: Annotated[
        bool,
        typer.Option("--deterministic", help="Bitwise reproducible results; slightly slower."),
    ] = False,
    distributed: Annotated[
        bool,
        typer.Option(
            "--distributed",
            help="Train as one of several processes started by srun, torchrun or a Kubernetes Job.",
        ),
    ] = False,
    log: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TRACKER",
            help="Log every epoch to tensorboard, mlflow, wandb or trackio, if installed. Can be "
            "repeated.",
        ),
    ] = None,
    export: ExportOption = True,
    quiet: QuietOption = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Train one model and write its run directory."""
    overrides = _settings(
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        validation=validation,
        budget=budget,
        target_accuracy=target_accuracy,
        deterministic=deterministic or None,
    ) | parse_settings(setting or [])
    reading = {
        "image_size": image_size,
        "label": label,
        "path_column": path_column,
        "on_bad_image": on_bad_image,
        "max_megapixels": max_megapixels,
        "group": group,
        "require_test": require_test,
    }
    if resume is not None:
        reading_changed = any(value is not None for value in reading.values())
        if recipe or out or start or overwrite or seeds or reading_changed:
            raise InputError(
                "--resume continues a run with its own recipe and data options; the only other "
                "options it accepts are --data, --source, --set, --log, --export, --quiet and "
                "--distributed"
            )
        _announce(str(resume), quiet or distributed)
        _resume(resume, overrides, data, source, log, distributed, export, quiet)
        return
    if out is None or (recipe is None and data is None and start is None):
        raise InputError(
            "give a recipe or --data PATH, and --out DIR; or --resume RUN; thumbnet recipes lists "
            "the recipes"
        )
    if distributed and seeds:
        raise InputError(
            "--distributed trains a single run; leave out --seeds and start it once per seed"
        )
    _announce(recipe or "auto", quiet or distributed)
    from thumbnet.cli.finish import finish
    from thumbnet.recipe import shipped_recipes
    from thumbnet.runs.run import Run
    from thumbnet.training import train as train_run
    from thumbnet.training.loggers import require_logger
    from thumbnet.training.progress import choose_display
    from thumbnet.training.steps import long_enough

    for name in log or []:
        require_logger(name)
    chosen_for: Dataset | None = None
    if recipe in (None, "auto") and not _is_run(start):
        if distributed:
            raise InputError(
                "auto measures one machine: train with it there, and give the recipe.toml of that "
                "run to --distributed"
            )
        if not overwrite and not seeds:
            Run.require_free(out)
        display = choose_display(quiet)
        dataset = load_dataset(data, source, display, **reading)
        plan = _choose_recipe(dataset, display, start, overrides)
        resolved, chosen_for = plan.recipe, plan.dataset
    else:
        resolved = _starting_from(start, recipe).override(overrides)
        display = choose_display(quiet)
    adjust = recipe in shipped_recipes() and not {"epochs", "batch_size"} & set(overrides)
    if seeds:
        dataset = chosen_for or load_dataset(data, source, display, **reading)
        resolved = long_enough(resolved, dataset, display, adjust=adjust)
        _train_seeds(resolved, seeds, out, overwrite, dataset, display, log)
        return
    with _processes(distributed, out, quiet) as (processes, directory, display):
        if distributed and resolved.ghost_batches > 1:
            display.message(
                f"{resolved.name}: ghost_batches set to 1, since the batch is divided among devices"
            )
            resolved = resolved.override({"ghost_batches": 1})
        dataset = chosen_for or load_dataset(data, source, display, **reading)
        resolved = long_enough(resolved, dataset, display, adjust=adjust)
        if overwrite:
            _remove_run(directory)
        finished = train_run(
            resolved,
            dataset,
            directory,
            callbacks=_loggers(log, out, resolved, processes),
            display=display,
            processes=processes,
        )
        if processes.rank == 0:
            finish(finished, dataset, display, export=export, quiet=quiet)


def _announce(name: str, quiet: bool) -> None:
    """Say that a training starts, before the imports that take long."""
    if not quiet:
        echo(f"{shown(name)}: starting; loading TensorFlow takes several seconds", error=True)


def _resume(
    path: Path,
    settings: dict[str, Any],
    data: str | None,
    source: str | None,
    log: list[str] | None,
    distributed: bool,
    export: bool,
    quiet: bool,
) -> None:
    """Continue the run of `--resume`."""
    from thumbnet.cli.finish import finish
    from thumbnet.runs.run import Run
    from thumbnet.training import resume as resume_run
    from thumbnet.training.loggers import require_logger

    for name in log or []:
        require_logger(name)
    with _processes(distributed, path, quiet) as (processes, directory, display):
        opened = Run.open(directory)
        dataset = dataset_to_resume(opened, data, source, display)
        finished = resume_run(
            opened,
            dataset,
            settings=settings,
            callbacks=_loggers(log, path, opened.recipe(), processes),
            display=display,
            processes=processes,
        )
        if processes.rank == 0:
            finish(finished, dataset, display, export=export, quiet=quiet)


def _is_run(start: str | None) -> bool:
    """Whether `--from` names a directory rather than a backbone."""
    from thumbnet.auto import SCRATCH
    from thumbnet.backbones import BACKBONES

    return start is not None and start not in (*BACKBONES, SCRATCH)


def _choose_recipe(
    dataset: "Dataset", display: "Display", start: str | None, overrides: dict[str, Any]
) -> "Plan":
    """The recipe that `auto` chooses for the data within `--budget`."""
    from thumbnet.auto import choose_recipe

    settings = dict(overrides)
    budget = settings.pop("stopping.budget_seconds", None)
    return choose_recipe(dataset, display, budget, start, settings)


def _starting_from(start: str | None, recipe: str | None) -> "Recipe":
    """The named recipe, with the network and the weights of `--from`.

    Raises:
        InputError: there is no such recipe, or the run has not finished.
    """
    from thumbnet.auto import SCRATCH
    from thumbnet.recipe import IMAGENET, Recipe
    from thumbnet.runs.run import Run

    base = Recipe.read(recipe if recipe not in (None, "auto") else "finetune")
    if start is None:
        return base
    if start == SCRATCH:
        return base.override({"start.weights": ""})
    if not _is_run(start):
        model = {"architecture": "backbone", "name": start}
        return base.override({"model": model, "start.weights": IMAGENET})
    run = Run.open(start)
    run.metrics()  # refuses an unfinished run
    model = run.recipe().model.model_dump(mode="json")
    return base.override({"model": model, "start.weights": str(run.path.resolve())})


@contextmanager
def _processes(
    distributed: bool, path: Path, quiet: bool
) -> Iterator[tuple["Processes", Path, "Display"]]:
    """The processes that train the run, this process's run directory, and its progress display.

    With `--distributed` the body runs in a child process, whose exit code this process returns.
    """
    from thumbnet.parallel.launch import read_launch
    from thumbnet.parallel.processes import SINGLE_PROCESS, launched
    from thumbnet.training.progress import SilentDisplay, choose_display

    together = (
        launched(read_launch(os.environ), path) if distributed else nullcontext(SINGLE_PROCESS)
    )
    with together as processes, processes.mirrored(path) as directory:
        yield processes, directory, SilentDisplay() if processes.rank else choose_display(quiet)


def _loggers(
    names: list[str] | None, path: Path, recipe: "Recipe", processes: "Processes"
) -> "list[keras.callbacks.Callback]":
    """The callbacks of `--log`; only the first of several processes logs."""
    from thumbnet.training.loggers import loggers

    return [] if processes.rank else loggers(names or [], path, recipe)


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Recipe to print; by default, all are listed.", autocompletion=complete_recipe
        ),
    ] = None,
) -> None:
    """List the shipped recipes, or print one as a starting point."""
    from thumbnet.recipe import Recipe, shipped_recipes

    if name is not None:
        echo(Recipe.read(name).to_toml().removesuffix("\n"))
        return
    for shipped in shipped_recipes():
        echo(f"{shipped}: {Recipe.read(shipped).description}")


def _settings(
    *, budget: str | None = None, target_accuracy: float | None = None, **plain: Any
) -> dict[str, Any]:
    """Recipe overrides from the options that were given."""
    settings = {key: value for key, value in plain.items() if value is not None}
    if budget is not None:
        settings["stopping.budget_seconds"] = parse_duration(budget)
    if target_accuracy is not None:
        settings["stopping.target_accuracy"] = target_accuracy
    return settings


def _require_usable(recipe: "Recipe", out: Path, overwrite: bool) -> None:
    """Check before any training that the run can be started, resumed or kept."""
    from thumbnet.runs.run import Run

    if overwrite:
        _remove_run(out)
    elif not Run.is_free(out) and (differences := recipe.differences(Run.open(out).recipe())):
        raise InputError(
            f"{out} contains a run of a different recipe ({', '.join(differences)}); choose "
            "another --out, or --overwrite to delete that run"
        )


def _train_or_resume(
    recipe: "Recipe",
    dataset: "Dataset",
    out: Path,
    display: "Display",
    log: list[str] | None = None,
) -> "Run":
    from thumbnet.parallel.processes import SINGLE_PROCESS
    from thumbnet.runs.run import Run
    from thumbnet.training import resume as resume_run
    from thumbnet.training import train as train_run

    if Run.is_free(out):
        callbacks = _loggers(log, out, recipe, SINGLE_PROCESS)
        return train_run(recipe, dataset, out, callbacks=callbacks, display=display)
    there = Run.open(out)
    display.message(f"{out}: {'already finished' if there.finished else 'resuming'}")
    callbacks = [] if there.finished else _loggers(log, out, recipe, SINGLE_PROCESS)
    return resume_run(there, dataset, callbacks=callbacks, display=display)


def _train_seeds(
    recipe: "Recipe",
    seeds: int,
    out: Path,
    overwrite: bool,
    dataset: "Dataset",
    display: "Display",
    log: list[str] | None,
) -> None:
    """Train with several seeds; existing runs are kept if finished, and resumed if not."""
    from thumbnet.cli.tables import print_seeds
    from thumbnet.runs.seeds import write_seeds

    first = recipe.seed
    recipes = [recipe.override({"seed": first + number}) for number in range(seeds)]
    for one in recipes:
        _require_usable(one, out / f"seed-{one.seed}", overwrite)
    runs = [
        _train_or_resume(one, dataset, out / f"seed-{one.seed}", display, log) for one in recipes
    ]
    print_seeds(write_seeds(runs, out))
    echo(f"Runs: {shown(out)}")


def _remove_run(path: Path) -> None:
    """Delete a run directory; anything else is refused."""
    from thumbnet.runs.run import Run

    if not Run.is_free(path):
        run = Run.open(path)
        with run.lock():
            shutil.rmtree(run.path)
