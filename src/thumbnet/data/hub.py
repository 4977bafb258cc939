"""The layouts of Parquet files on the Hugging Face hub: which file belongs to which part.

https://huggingface.co/docs/datasets/repository_structure describes them. Files are in the folder
itself, in `data/`, or in a folder for each configuration (such as `plain_text/` of CIFAR-10), and
the part is a word of the file's name (`train-00000-of-00002.parquet`) or of its folder's
(`default/train/0000.parquet`).
"""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from thumbnet.data.listing import SPLITS, TRAIN
from thumbnet.errors import InputError, shown

DEPTH = 3
"""Levels of folders below the one that is named in which files are looked for."""


def find_parquet(folder: Path) -> list[Path]:
    """The Parquet files in a folder and those below it, in order; hidden folders are left out."""
    found: list[Path] = []
    for place, subfolders, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        subfolders[:] = [name for name in subfolders if depth < DEPTH and not name.startswith(".")]
        found += [Path(place, name) for name in names if name.endswith(".parquet")]
    return sorted(found)


def parts_of(folder: Path, files: Sequence[Path]) -> list[int]:
    """The part that each file belongs to: `TRAIN`, `VALIDATION` or `TEST`.

    Without a word for a part in any name, all are training images.

    Raises:
        InputError: some names say a part and others do not, or there are several data sets.
    """
    parts = [_part(file.relative_to(folder)) for file in files]
    if set(parts) == {None}:
        return [TRAIN] * len(files)
    if None in parts:
        other = next(file for file, part in zip(files, parts, strict=True) if part is not None)
        raise InputError(
            f"{shown(files[parts.index(None)])} does not say which part it belongs to, as "
            f"{shown(other)} does; begin its name with train, validation or test, or move it away"
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
            f"{shown(folder)} holds several data sets, in {', '.join(map(shown, sorted(places)))}; "
            "give one of these folders"
        )


def _part(file: Path) -> int | None:
    names = (file.stem, *reversed(file.parent.parts))
    return next((part for name in names if (part := _part_in(name)) is not None), None)


def _part_in(name: str) -> int | None:
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None)
