"""Walking through the folders of a dataset."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thumbnet.data.formats import IMAGE_SUFFIXES, format_of
from thumbnet.data.images import beginning_of
from thumbnet.data.listing import Problem
from thumbnet.errors import InputError, shown

_LEFTOVERS = {
    "$recycle.bin",
    "__macosx",
    "#recycle",
    "@eadir",
    "@recycle",
    "@syno",
    "desktop.ini",
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "icon\r",
    "lost+found",
    "picasa.ini",
    "system volume information",
    "thumbs.db",
}
"""Files and folders that operating systems create, in lower case."""
_LEFTOVER_ENDINGS = ("zone.identifier", "@synoeastream", "@synoresource")
"""Suffixes that Windows and NAS devices append to file names, in lower case."""


@dataclass(frozen=True)
class Contents:
    """Direct contents of a folder: whether it has files named like images, and its subfolders."""

    pictures: bool
    folders: frozenset[str]


class Walk:
    """The images found in a folder; all paths are relative to it.

    Attributes:
        names: the path of each image.
        names_in_split: the same, relative to the split's folder.
        classes: the class name of each image.
        splits: the split of each image.
        problems: files and folders that are not used, and why.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names: list[str] = []
        self.names_in_split: list[str] = []
        self.classes: list[str] = []
        self.splits: list[int] = []
        self.problems: list[Problem] = []

    def note(self, problem: Problem) -> None:
        self.problems.append(problem)

    def shown(self, path: str) -> str:
        return shown(self._folder / path)

    def contents(self, path: str) -> Contents:
        """Direct contents of a folder; empty if it cannot be read."""
        try:
            entries = list(os.scandir(self._folder / path))
        except OSError:
            return Contents(False, frozenset())
        entries = [entry for entry in entries if not _is_leftover(entry.name)]
        folders = frozenset(entry.name for entry in entries if _is_folder(entry))
        files = (entry.name for entry in entries if entry.name not in folders)
        return Contents(any(map(_is_image_name, files)), folders)

    def subfolders(self, part: str) -> set[str]:
        """Names of the folders in a split, or at the top; stray images are noted as problems."""
        found = set()
        try:
            entries = sorted(os.scandir(self._folder / part), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{self.shown(part)} cannot be read: {error.strerror}") from error
        for entry in entries:
            if _is_leftover(entry.name):
                continue
            path = str(Path(part, entry.name))
            if _is_folder(entry):
                found.add(entry.name)
            elif _is_image_name(entry.name):
                message = "is not in a class folder and is not used"
                remedy = "move it into the folder of its class, or remove it"
                self.note(Problem("stray file", self.shown(path), message, remedy))
        return found

    def add_class(self, part: str, name: str, split: int) -> None:
        """Add the images of a class folder within the folder of a split."""
        path, before = str(Path(part, name)), len(self.names)
        folders = (self._folder, (self._folder / path).parent)
        above = frozenset((found.st_dev, found.st_ino) for found in map(Path.stat, folders))
        self.names += self._pictures(path, above)
        added = self.names[before:]
        self.names_in_split += [file[len(path) - len(name) :] for file in added]
        self.classes += [shown(name)] * len(added)
        self.splits += [split] * len(added)
        if not added:
            remedy = "add images, or remove the folder"
            self.note(Problem("empty class", self.shown(path), "contains no images", remedy))

    def _pictures(self, path: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
        """All images in a folder and its subfolders, in order; link loops are not followed.

        An unreadable folder is yielded as if it were an image, so that opening it reports why.
        """
        try:
            found = (self._folder / path).stat()
            here = (found.st_dev, found.st_ino)
            if here in above:
                message = "is a symbolic link to one of its parent folders and is not followed"
                self.note(Problem("link loop", self.shown(path), message, "remove the link"))
                return
            entries = sorted(os.scandir(self._folder / path), key=lambda entry: entry.name)
        except OSError:
            yield path
            return
        for entry in entries:
            if _is_leftover(entry.name):
                continue
            inner = f"{path}/{entry.name}"
            if _is_folder(entry):
                yield from self._pictures(inner, above | {here})
            elif _is_image_name(entry.name) or format_of(beginning_of(self._folder / inner)):
                yield inner
            else:
                message = "is not an image, judging by its name and content, and is ignored"
                remedy = "remove it, or leave it there"
                self.note(Problem("other file", self.shown(inner), message, remedy))


def _is_image_name(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself: opening it will report that
        return False


def _is_leftover(name: str) -> bool:
    """Whether a file or folder is silently ignored: hidden, or created by the operating system."""
    lower = name.lower()
    return name.startswith(".") or lower in _LEFTOVERS or lower.endswith(_LEFTOVER_ENDINGS)
