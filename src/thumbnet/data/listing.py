"""A listing of the images in a dataset, made before any of them is opened."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from thumbnet.data.stored import Int64Array

TRAIN, VALIDATION, TEST = range(3)
SPLIT_NAMES = ("train", "validation", "test")
SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "validate": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "eval": TEST,
    "evaluation": TEST,
}
"""The split that each word stands for."""

_AROUND_PART = re.compile(r"^seg|(set|split|data|images?|imgs?)$")

_NUMBER = re.compile(r"[+-]?\d{1,100}(\.\d{0,100})?")
_DIGITS = re.compile(r"(\d{1,100})")


@dataclass(frozen=True)
class Problem:
    """A problem in a dataset that its owner should fix.

    Attributes:
        kind: its kind in one or two words.
        path: the file, folder or class.
        message: what is wrong.
        remedy: how to fix it.
        stops_training: whether training fails because of it, unless bad images are skipped.
        spoils_figures: whether it makes the test metrics invalid.
    """

    kind: str
    path: str
    message: str
    remedy: str
    stops_training: bool = False
    spoils_figures: bool = False

    @property
    def is_advice(self) -> bool:
        """Whether training works in spite of it and the test metrics are valid."""
        return not (self.stops_training or self.spoils_figures)


@dataclass(frozen=True, eq=False)
class Listing:
    """Names, labels and splits of images.

    Attributes:
        path: the file or folder that the user gave.
        title: a description of the layout and its location.
        names: a unique name for each image within `path`.
        has_names: whether the names mean something to the user, such as file paths.
        class_names: in the order of the labels.
        labels: int64 array of shape (n,).
        splits: int64 array of shape (n,) of `TRAIN`, `VALIDATION` and `TEST`.
        groups: the group of each image; the images of a group stay in one split. Empty if the
            images are independent.
        problems: problems found while listing.
    """

    path: Path
    title: str
    names: Sequence[str]
    class_names: tuple[str, ...]
    labels: Int64Array
    splits: Int64Array
    groups: Sequence[str] = ()
    problems: tuple[Problem, ...] = ()
    has_names: bool = False

    @property
    def lost(self) -> list[str]:
        """Messages about images that should be listed but are missing."""
        return [f"{one.path} {one.message}" for one in self.problems if one.stops_training]


def split_named(name: str) -> int | None:
    """The split that a folder name such as "Test", "training_set" or "seg_train" stands for."""
    word = re.sub(r"[\W_]+", "", name.lower())
    while word not in SPLITS and (shorter := _AROUND_PART.sub("", word)) != word:
        word = shorter
    return SPLITS.get(word)


def numbered_classes(texts: Sequence[str]) -> tuple[tuple[str, ...], Int64Array]:
    """Sorted class names, and the label of each text.

    Numbers are sorted by value, even within names: "class 2" comes before "class 10". Texts that
    differ only in Unicode normalisation are the same class.
    """
    # Operating systems compose accents differently.
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    unique = set(texts)
    by_value = all(_NUMBER.fullmatch(text) for text in unique)
    names = sorted(unique, key=(lambda text: (Decimal(text), text)) if by_value else _natural)
    number = {name: index for index, name in enumerate(names)}
    return tuple(names), np.array([number[text] for text in texts], np.int64)


def _natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """A key for natural sorting: by text and by the value of whole numbers within it."""
    parts = _DIGITS.split(name)
    numbers = [*map(int, parts[1::2]), 0]
    return list(zip(parts[::2], numbers, strict=True)), name
