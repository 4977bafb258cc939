"""A folder with a sub-folder for each class, or with parts that hold such sub-folders."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thumbnet.data.groups import groups_of_names
from thumbnet.data.listing import (
    SPLIT_NAMES,
    TRAIN,
    Listing,
    Problem,
    numbered_classes,
    part_named,
)
from thumbnet.data.pictures import PictureFiles, Pictures
from thumbnet.data.reading import Reading
from thumbnet.data.walk import Walk
from thumbnet.errors import InputError, shown

_NAMED = 4
"""Folders that a message names."""


def list_folder(folder: Path, reading: Reading) -> tuple[Listing, Pictures]:
    """List the pictures of a folder: `CLASS/PICTURE` or `train/CLASS/PICTURE`.

    Every picture in a class's folder counts as one of it, those in folders within that too.

    Raises:
        InputError: it cannot be read, holds no picture in a sub-folder, or its folders are not
            those of classes.
    """
    walk = Walk(folder)
    top = walk.subfolders("")
    parts = _parts(walk, top)
    for part in parts or [_Part("", TRAIN)]:
        names = sorted(walk.subfolders(part.path) if part.path else top)
        _require_classes(walk, part, names, nested=reading.group is not None)
        for name in names:
            walk.add_class(part.path, name, part.split)
    if parts:
        _note_strays(walk, top, parts)
    if not walk.names:
        raise InputError(
            f"{shown(folder)} holds no picture in a sub-folder; give a folder with a sub-folder "
            "for each class, with or without train, val and test above them"
        )
    class_names, labels = numbered_classes(walk.classes)
    listing = Listing(
        path=folder,
        title=f"folder {shown(folder)}",
        names=walk.names,
        class_names=class_names,
        labels=labels,
        splits=np.array(walk.splits, np.int64),
        groups=groups_of_names(walk.names_in_part, reading.group) if reading.group else (),
        problems=tuple(walk.problems),
        has_names=True,
    )
    return listing, PictureFiles(folder, folder, walk.names)


@dataclass(frozen=True)
class _Part:
    """A folder of class folders; `path` is relative to the data set, and empty for itself."""

    path: str
    split: int


def _parts(walk: Walk, top: set[str]) -> list[_Part]:
    """The parts of a data set, training first; none if the folders at the top are classes.

    A folder `train` that holds pictures and no folders is a class of that name.

    Raises:
        InputError: two folders stand for one part, parts lack class folders, or there are other
            parts and none to train on.
    """
    named = {name: split for name in sorted(top) if (split := part_named(name)) is not None}
    with_folders = [name for name in named if walk.contents(name).folders]
    if not any(named[name] == TRAIN for name in with_folders):
        if len(named) > 1 and len(named) == len(top):
            problem = (
                "hold no training part"
                if with_folders
                else "hold pictures and no folder for each class"
            )
            raise InputError(
                f"{_listed(sorted(named))} of {walk.shown('')} {problem}; put the pictures into "
                "train/CLASS/, and into val/CLASS/ and test/CLASS/ if there are such parts"
            )
        return []
    parts: dict[int, _Part] = {}
    for name in with_folders:
        split = named[name]
        if split in parts:
            raise InputError(
                f"{shown(parts[split].path)} and {shown(name)} of {walk.shown('')} both stand for "
                f"the {SPLIT_NAMES[split]} part; rename one of them"
            )
        parts[split] = _Part(_unwrapped(walk, name, split), split)
    return [parts[split] for split in sorted(parts)]


def _unwrapped(walk: Walk, path: str, split: int) -> str:
    """The folder of class folders within `path`: archives often hold `seg_train/seg_train/`."""
    contents = walk.contents(path)
    while len(contents.folders) == 1 and not contents.pictures:
        (name,) = contents.folders
        if part_named(name) != split:
            break
        path = f"{path}/{name}"
        contents = walk.contents(path)
    return path


def _require_classes(walk: Walk, part: _Part, names: list[str], nested: bool) -> None:
    """Refuse folders that hold only folders, unless the user knows them as groups (`nested`).

    Raises:
        InputError: saying what they seem to be.
    """
    contents = {name: walk.contents(str(Path(part.path, name))) for name in names}
    filled = {name: found for name, found in contents.items() if found.pictures or found.folders}
    hollow = {name: found.folders for name, found in filled.items() if not found.pictures}
    where, beside = walk.shown(part.path), sorted(filled.keys() - hollow.keys())
    for name, folders in hollow.items():
        if len(folders & set(beside)) > 1:
            raise InputError(
                f"{shown(name)} in {where} holds folders of the same names as the classes beside "
                f"it ({_listed(sorted(folders & set(beside)))}); if it is a part, move the others "
                "into a folder train"
            )
    if not hollow or beside or nested:
        return
    within = sorted(set[str]().union(*hollow.values()))
    if len(hollow) == 1:
        (name,) = hollow
        raise InputError(
            f"{where} holds one folder, {shown(name)}, with the folders {_listed(within)} in it; "
            f"if these are the classes, give {walk.shown(str(Path(part.path, name)))}"
        )
    common = sorted(set.intersection(*map(set, hollow.values())))
    found = f"the same folders ({_listed(common)})" if common else f"folders ({_listed(within)})"
    raise InputError(
        f"{_listed(sorted(hollow))} in {where} hold no pictures but {found}; if they are parts, "
        "call them train, val and test; if they are classes and the folders within are groups of "
        "pictures, such as videos, add --group '.*/'"
    )


def _note_strays(walk: Walk, top: set[str], parts: list[_Part]) -> None:
    """Note the folders beside the parts; one with the same classes is probably a part."""
    used = {Path(part.path).parts[0] for part in parts}
    for name in sorted(top - used):
        common = walk.contents(name).folders & walk.contents(parts[0].path).folders
        if len(common) > 1:
            walk.note(
                Problem(
                    "unknown part",
                    walk.shown(name),
                    f"holds the same classes as train ({_listed(sorted(common))}), but its name "
                    "does not say which part it is",
                    "call it train, val or test, or move it away",
                    stops_training=True,
                )
            )
        else:
            message, remedy = "lies beside train and is not read", "move it away, or leave it"
            walk.note(Problem("stray folder", walk.shown(name), message, remedy))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(map(shown, names[:_NAMED])) + more
