"""What a layout of files holds before any picture is opened, and the data set that comes of it."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.reading import Reading
from thumbnet.data.stored import Images, Int64Array, StoredImages, UInt8Array
from thumbnet.errors import InputError, shown

TRAIN, VALIDATION, TEST = range(3)
SPLIT_NAMES = ("train", "validation", "test")
SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "eval": TEST,
    "evaluation": TEST,
}
"""The part of a data set that a word stands for."""

_LEFT_OUT = -1
_NUMBER = re.compile(r"[+-]?\d{1,100}(\.\d{0,100})?")
_DIGITS = re.compile(r"(\d{1,100})")

HELD_OUT = 0.2
"""Share of each class that becomes the test part where there is none."""
IN_MEMORY = 1 << 28
"""Bytes of pixels that are copied into memory; more stay in their file."""


@dataclass(frozen=True)
class Problem:
    """Something about a data set that its owner should mend.

    Attributes:
        kind: what it is, in a word or two.
        path: the file, folder or class.
        message: what is wrong.
        remedy: what to do.
        stops_training: whether training refuses it, unless told to leave it out.
    """

    kind: str
    path: str
    message: str
    remedy: str
    stops_training: bool = False


@dataclass(frozen=True, eq=False)
class Listing:
    """Images by name, label and part.

    Attributes:
        path: what the user named.
        title: the layout and where it is, in words.
        names: what distinguishes each image within `path`.
        are_files: whether the names are paths of files, by which their owner knows the images.
        class_names: in the order of the labels.
        labels: int64 array of shape (n,).
        splits: int64 array of shape (n,) of `TRAIN`, `VALIDATION` and `TEST`.
        problems: what was found on the way.
    """

    path: Path
    title: str
    names: Sequence[str]
    class_names: tuple[str, ...]
    labels: Int64Array
    splits: Int64Array
    problems: tuple[Problem, ...] = ()
    are_files: bool = False

    @property
    def lost(self) -> list[str]:
        """Sentences on what is not listed though it should be."""
        return [f"{one.path} {one.message}" for one in self.problems if one.stops_training]


def numbered_classes(texts: Sequence[str]) -> tuple[tuple[str, ...], Int64Array]:
    """Class names in order, and the label of each text.

    Numbers are in the order of their values, those within names too: "class 2", "class 10".
    """
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


def with_test_part(listing: Listing) -> tuple[Int64Array, str]:
    """Hold some of each class out for the test where there is no test part.

    An image is chosen by a hash of its name: those that are added later do not move the others
    from one part to the other. A class with a single image keeps it for training.

    Returns:
        The parts, and words that say what was done; empty if nothing was.
    """
    if (listing.splits == TEST).any():
        return listing.splits, ""
    splits, order = listing.splits.copy(), _hashed_order(listing.names)
    for label in range(len(listing.class_names)):
        members = order[(listing.labels[order] == label) & (splits[order] == TRAIN)]
        if len(members) > 1:
            splits[members[: max(1, round(HELD_OUT * len(members)))]] = TEST
    return splits, f"no test part: {HELD_OUT:.0%} of each class held out for it"


def assemble(
    listing: Listing, images: Images, reading: Reading, bad: Mapping[int, str] | None = None
) -> Dataset:
    """Make a data set of images, each of which has a label and belongs to a part.

    The training images are put in a random order that their names decide: files come sorted by
    class, and models look at the first images for statistics of them all.

    Args:
        listing: the labels and parts.
        images: of shape (n, height, width, channels).
        reading: how it was read.
        bad: what is wrong with images that are to be left out, by index.

    Raises:
        InputError: a part is empty, or training images lack a class that another part has.
    """
    bad, labels, path = bad or {}, listing.labels, listing.path.resolve()
    splits, held_out = with_test_part(listing)
    splits = splits.copy()
    splits[list(bad)] = _LEFT_OUT
    order = _hashed_order(listing.names)
    names = tuple(map(shown, listing.names)) if listing.are_files else ()
    everything = LabelledImages(images, labels, names)
    train, validation, test = (
        everything.take(chosen)
        for chosen in (
            order[splits[order] == TRAIN],
            np.flatnonzero(splits == VALIDATION),
            np.flatnonzero(splits == TEST),
        )
    )
    for split, part in ((VALIDATION, validation), (TEST, test)):
        unknown = np.setdiff1d(part.labels, train.labels)
        if len(unknown) and len(train):
            raise InputError(
                f"the class {listing.class_names[unknown[0]]} is in the {SPLIT_NAMES[split]} part "
                f"of {listing.title} and not in the train part; add training images of it, or "
                "remove it"
            )
    skipped = (*listing.lost, *bad.values())
    left_out = f"{len(skipped):,} left out" if skipped else ""
    return Dataset(
        name=shown(path.name if path.is_dir() else path.stem),
        class_names=listing.class_names,
        train=train,
        test=test,
        source="; ".join(filter(None, [listing.title, held_out, left_out])),
        path=listing.path,
        validation=validation if len(validation) else None,
        reading=reading,
        skipped=skipped,
    )


def in_memory_if_few(pixels: UInt8Array) -> Images:
    """Mapped pixels as an array, of which parts are copied, or else as images in their file."""
    if pixels.nbytes <= IN_MEMORY:
        return np.asarray(pixels)
    return StoredImages(pixels, np.arange(len(pixels)))


def _hashed_order(names: Sequence[str]) -> Int64Array:
    """Indices of the names in the order of their hashes."""
    hashes = b"".join(
        hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest() for name in names
    )
    return np.argsort(np.frombuffer(hashes, ">u8"), kind="stable")
