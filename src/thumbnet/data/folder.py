"""A folder with one sub-folder a class, or with parts that hold such sub-folders."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from thumbnet.data.listing import SPLITS, TRAIN, Listing, Problem, numbered_classes
from thumbnet.data.pictures import PictureFiles, Pictures
from thumbnet.errors import InputError, shown

IGNORED = ("Thumbs.db", "desktop.ini", "__MACOSX")
"""What other programs leave behind, beside all that begins with a full stop."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def list_folder(folder: Path) -> tuple[Listing, Pictures]:
    """List the pictures of a folder: `CLASS/PICTURE` or `train/CLASS/PICTURE`.

    Every file in a class's folder counts as a picture of it, those in folders within that too.

    Raises:
        InputError: it cannot be read, or holds no picture in a sub-folder.
    """
    walk = _Walk(folder)
    subfolders = walk.subfolders("")
    parts = {name: SPLITS[name.lower()] for name in subfolders if name.lower() in SPLITS}
    if TRAIN not in parts.values():
        parts = {"": TRAIN}
    elif strays := sorted(subfolders - parts.keys()):
        walk.note(
            "stray folder", strays[0], "lies beside train and is no part", "move or remove it"
        )
    for part, split in sorted(parts.items()):
        for name in sorted(walk.subfolders(part) if part else subfolders):
            walk.add_class(str(Path(part, name)), shown(name), split)
    if not walk.names:
        raise InputError(
            f"{shown(folder)} holds no picture in a sub-folder; give a folder with one sub-folder "
            "a class, with or without train, val and test above them"
        )
    class_names, labels = numbered_classes(walk.classes)
    listing = Listing(
        path=folder,
        title=f"folder {shown(folder)}",
        names=walk.names,
        class_names=class_names,
        labels=labels,
        splits=np.array(walk.splits, np.int64),
        problems=tuple(walk.problems),
        are_files=True,
    )
    return listing, PictureFiles(folder, folder, walk.names)


class _Walk:
    """What is found in a folder; all paths are relative to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names: list[str] = []
        self.classes: list[str] = []
        self.splits: list[int] = []
        self.problems: list[Problem] = []

    def note(self, kind: str, path: str, message: str, remedy: str) -> None:
        shown_path = shown(self._folder / path)
        self.problems.append(Problem(kind, shown_path, message, remedy))

    def subfolders(self, part: str) -> set[str]:
        """Names of the folders in a part, or at the top; pictures beside them are noted."""
        found = set()
        try:
            entries = sorted(os.scandir(self._folder / part), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(
                f"{shown(self._folder / part)} cannot be read: {error.strerror}"
            ) from error
        for entry in entries:
            if _is_ignored(entry.name):
                continue
            if _is_folder(entry):
                found.add(entry.name)
            elif entry.name.lower().endswith(SUFFIXES):
                self.note(
                    "stray file",
                    str(Path(part, entry.name)),
                    "lies in no class's folder and is not used",
                    "move it into the folder of its class, or remove it",
                )
        return found

    def add_class(self, path: str, name: str, split: int) -> None:
        before = len(self.names)
        folders = (self._folder, (self._folder / path).parent)
        above = frozenset((found.st_dev, found.st_ino) for found in map(Path.stat, folders))
        self.names += self._files(path, above)
        added = len(self.names) - before
        self.classes += [name] * added
        self.splits += [split] * added
        if not added:
            self.note("empty class", path, "holds no picture", "add pictures, or remove the folder")

    def _files(self, path: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        """All files of a folder and those in it, in order; links are followed, but not in circles.

        A folder that cannot be read stands for its files: opening it will say why.
        """
        try:
            found = (self._folder / path).stat()
            here = (found.st_dev, found.st_ino)
            if here in above:
                self.note(
                    "link loop",
                    path,
                    "is a symbolic link to a folder that it lies in; it is not followed",
                    "remove the link",
                )
                return
            entries = sorted(os.scandir(self._folder / path), key=lambda entry: entry.name)
        except OSError:
            yield path
            return
        for entry in entries:
            if _is_ignored(entry.name):
                continue
            inner = f"{path}/{entry.name}"
            if _is_folder(entry):
                yield from self._files(inner, above | {here})
            else:
                yield inner


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in IGNORED


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself: opening it will say so
        return False
