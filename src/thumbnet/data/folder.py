"""Folders with a subfolder for each class, or with splits that contain such subfolders."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thumbnet.data.encoded import EncodedImages, ImageFiles
from thumbnet.data.groups import groups_of_names
from thumbnet.data.listing import (
    SPLIT_NAMES,
    TRAIN,
    Listing,
    Problem,
    numbered_classes,
    split_named,
)
from thumbnet.data.reading import Reading
from thumbnet.data.walk import Walk
from thumbnet.errors import InputError, shown

_MAX_LISTED = 4
"""Maximum number of folders listed in a message."""


def list_folder(folder: Path, reading: Reading) -> tuple[Listing, EncodedImages]:
    """List the images of a folder: `CLASS/IMAGE` or `train/CLASS/IMAGE`.

    All images in a class folder belong to that class, including those in its subfolders.

    Raises:
        InputError: the folder cannot be read, has no images in subfolders, or its subfolders are
            not classes.
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
        _note_other_folders(walk, top, parts)
    if not walk.names:
        raise InputError(
            f"{shown(folder)} contains no images in subfolders; give a folder with a subfolder "
            "for each class, either directly or inside train, val and test"
        )
    class_names, labels = numbered_classes(walk.classes)
    listing = Listing(
        path=folder,
        title=f"folder {shown(folder)}",
        names=walk.names,
        class_names=class_names,
        labels=labels,
        splits=np.array(walk.splits, np.int64),
        groups=groups_of_names(walk.names_in_split, reading.group) if reading.group else (),
        problems=tuple(walk.problems),
        has_names=True,
    )
    return listing, ImageFiles(folder, folder, walk.names)


@dataclass(frozen=True)
class _Part:
    """A folder of class folders; `path` is relative to the dataset, and empty for its root."""

    path: str
    split: int


def _parts(walk: Walk, top: set[str]) -> list[_Part]:
    """The splits of a dataset, training first; none if the top-level folders are classes.

    A folder `train` that contains images but no folders is a class of that name.

    Raises:
        InputError: two folders are the same split, a split has no class folders, or there is no
            training split.
    """
    named = {name: split for name in sorted(top) if (split := split_named(name)) is not None}
    with_folders = [name for name in named if walk.contents(name).folders]
    if not any(named[name] == TRAIN for name in with_folders):
        if len(named) > 1 and len(named) == len(top):
            problem = (
                "include no training split"
                if with_folders
                else "contain images but no class folders"
            )
            raise InputError(
                f"{_listed(sorted(named))} in {walk.shown('')} {problem}; put the images into "
                "train/CLASS/, and those of other splits into val/CLASS/ and test/CLASS/"
            )
        return []
    parts: dict[int, _Part] = {}
    for name in with_folders:
        split = named[name]
        if split in parts:
            raise InputError(
                f"{shown(parts[split].path)} and {shown(name)} in {walk.shown('')} are both names "
                f"of the {SPLIT_NAMES[split]} split; rename one of them"
            )
        parts[split] = _Part(_unwrapped(walk, name, split), split)
    return [parts[split] for split in sorted(parts)]


def _unwrapped(walk: Walk, path: str, split: int) -> str:
    """The folder of class folders within `path`: archives often contain `seg_train/seg_train/`."""
    contents = walk.contents(path)
    while len(contents.folders) == 1 and not contents.pictures:
        (name,) = contents.folders
        if split_named(name) != split:
            break
        path = f"{path}/{name}"
        contents = walk.contents(path)
    return path


def _require_classes(walk: Walk, part: _Part, names: list[str], nested: bool) -> None:
    """Refuse folders that contain only folders, unless the user declared groups (`nested`).

    Raises:
        InputError: the folders do not look like classes.
    """
    contents = {name: walk.contents(str(Path(part.path, name))) for name in names}
    filled = {name: found for name, found in contents.items() if found.pictures or found.folders}
    hollow = {name: found.folders for name, found in filled.items() if not found.pictures}
    where, beside = walk.shown(part.path), sorted(filled.keys() - hollow.keys())
    for name, folders in hollow.items():
        if len(folders & set(beside)) > 1:
            raise InputError(
                f"{shown(name)} in {where} contains folders with the same names as the classes "
                f"next to it ({_listed(sorted(folders & set(beside)))}); if it is a split, move "
                "the other folders into a folder train"
            )
    if not hollow or beside or nested:
        return
    within = sorted(set[str]().union(*hollow.values()))
    if len(hollow) == 1:
        (name,) = hollow
        raise InputError(
            f"{where} contains a single folder, {shown(name)}, with the folders {_listed(within)}; "
            f"if these are the classes, give {walk.shown(str(Path(part.path, name)))} instead"
        )
    common = sorted(set.intersection(*map(set, hollow.values())))
    found = f"the same folders ({_listed(common)})" if common else f"folders ({_listed(within)})"
    raise InputError(
        f"{_listed(sorted(hollow))} in {where} contain no images but {found}; if they are splits, "
        "rename them to train, val and test; if they are classes and the folders inside are groups "
        "of images, such as videos, add --group '.*/'"
    )


def _note_other_folders(walk: Walk, top: set[str], parts: list[_Part]) -> None:
    """Note folders next to the splits; one with the same classes is probably a split too."""
    used = {Path(part.path).parts[0] for part in parts}
    for name in sorted(top - used):
        common = walk.contents(name).folders & walk.contents(parts[0].path).folders
        if len(common) > 1:
            walk.note(
                Problem(
                    "unknown part",
                    walk.shown(name),
                    f"contains the same classes as train ({_listed(sorted(common))}), but its name "
                    "is not that of a split",
                    "rename it to train, val or test, or move it elsewhere",
                    stops_training=True,
                )
            )
        else:
            message, remedy = "is next to train and is ignored", "move it elsewhere, or leave it"
            walk.note(Problem("stray folder", walk.shown(name), message, remedy))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED:,} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(map(shown, names[:_MAX_LISTED])) + more
