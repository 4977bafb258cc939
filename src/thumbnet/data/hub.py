"""Which Parquet file belongs to which split, in the layouts of the Hugging Face hub.

They are described at https://huggingface.co/docs/datasets/repository_structure. Files are in the
folder itself, in `data/`, or in a folder for each configuration (such as `plain_text/` of
CIFAR-10). The split is a word in the name of the file (`train-00000-of-00002.parquet`) or of its
folder (`default/train/0000.parquet`).
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from thumbnet.data.listing import SPLITS, TRAIN
from thumbnet.errors import InputError, shown

DEPTH = 3
"""How many levels of subfolders are searched."""


def find_parquet(folder: Path) -> list[Path]:
    """The Parquet files in a folder and its subfolders, sorted; hidden folders are skipped."""
    found: list[Path] = []
    for place, subfolders, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        subfolders[:] = [name for name in subfolders if depth < DEPTH and not name.startswith(".")]
        found += [Path(place, name) for name in names if name.endswith(".parquet")]
    return sorted(found)


def splits_of(folder: Path, files: Sequence[Path]) -> list[int]:
    """The split that each file belongs to: `TRAIN`, `VALIDATION` or `TEST`.

    If no name contains the word for a split, all files are training images.

    Raises:
        InputError: only some of the names give a split, or there are several datasets.
    """
    parts = [_part(file.relative_to(folder)) for file in files]
    if set(parts) == {None}:
        return [TRAIN] * len(files)
    if None in parts:
        other = next(file for file, part in zip(files, parts, strict=True) if part is not None)
        raise InputError(
            f"cannot tell which split {shown(files[parts.index(None)])} belongs to, unlike "
            f"{shown(other)}; start its name with train, validation or test, or move it elsewhere"
        )
    _require_one_configuration(folder, files, parts)
    return [TRAIN if part is None else part for part in parts]


def _require_one_configuration(
    folder: Path, files: Sequence[Path], parts: Sequence[int | None]
) -> None:
    places: dict[Path, set[int | None]] = defaultdict(set)
    for file, part in zip(files, parts, strict=True):
        inner = file.parent.relative_to(folder).parts
        plain = [name for name in inner if _part_in(name) is None and not name.isdecimal()]
        places[folder.joinpath(*plain)].add(part)
    if sum(map(len, places.values())) > len(set(parts)):
        raise InputError(
            f"{shown(folder)} contains several datasets, in "
            f"{', '.join(map(shown, sorted(places)))}; give one of these folders"
        )


def _part(file: Path) -> int | None:
    names = (file.stem, *reversed(file.parent.parts))
    return next((part for name in names if (part := _part_in(name)) is not None), None)


def _part_in(name: str) -> int | None:
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)
