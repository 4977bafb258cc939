"""What a layout of files holds, before any picture is opened."""

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
"""The part of a data set that a word stands for."""

_AROUND_PART = re.compile(r"^seg|(set|split|data|images?|imgs?)$")

_NUMBER = re.compile(r"[+-]?\d{1,100}(\.\d{0,100})?")
_DIGITS = re.compile(r"(\d{1,100})")


@dataclass(frozen=True)
class Problem:
    """Something about a data set that its owner should mend.

    Attributes:
        kind: what it is, in a word or two.
        path: the file, folder or class.
        message: what is wrong.
        remedy: what to do.
        stops_training: whether training refuses it, unless it is to leave such things out.
        spoils_figures: whether the test figures are wrong because of it.
    """

    kind: str
    path: str
    message: str
    remedy: str
    stops_training: bool = False
    spoils_figures: bool = False

    @property
    def is_advice(self) -> bool:
        """Whether training goes on and its figures are right all the same."""
        return not (self.stops_training or self.spoils_figures)


@dataclass(frozen=True, eq=False)
class Listing:
    """Images by name, label and part.

    Attributes:
        path: what the user named.
        title: the layout and where it is, in words.
        names: what distinguishes each image within `path`.
        has_names: whether their owner knows the images by these names, as by paths of files.
        class_names: in the order of the labels.
        labels: int64 array of shape (n,).
        splits: int64 array of shape (n,) of `TRAIN`, `VALIDATION` and `TEST`.
        groups: the group of each image, of those that must stay in one part; empty if each stands
            for itself.
        problems: what was found on the way.
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
        """Sentences on what is not listed though it should be."""
        return [f"{one.path} {one.message}" for one in self.problems if one.stops_training]


def part_named(name: str) -> int | None:
    """The part that a folder's name stands for, such as "Test", "training_set" or "seg_train"."""
    word = re.sub(r"[\W_]+", "", name.lower())
    while word not in SPLITS and (shorter := _AROUND_PART.sub("", word)) != word:
        word = shorter
    return SPLITS.get(word)


def numbered_classes(texts: Sequence[str]) -> tuple[tuple[str, ...], Int64Array]:
    """Class names in order, and the label of each text.

    Numbers are in the order of their values, those within names too: "class 2", "class 10". Texts
    that differ by Unicode normalisation alone are one class.
    """
    # The same letters, whatever way the system that wrote them composes accents.
    texts = [unicodedata.normalize("NFC", text) for text in texts]
    unique = set(texts)
    by_value = all(_NUMBER.fullmatch(text) for text in unique)
    names = sorted(unique, key=(lambda text: (Decimal(text), text)) if by_value else _natural)
    number = {name: index for index, name in enumerate(names)}
    return tuple(names), np.array([number[text] for text in texts], np.int64)


def _natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """A key that sorts by the texts and the whole numbers that a name is made of."""
    parts = _DIGITS.split(name)
    numbers = [*map(int, parts[1::2]), 0]
    return list(zip(parts[::2], numbers, strict=True)), name
