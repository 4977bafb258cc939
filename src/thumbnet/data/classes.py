"""Checks of the classes: their number, sizes and names."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from thumbnet.data.listing import SPLIT_NAMES, TRAIN, VALIDATION, Problem
from thumbnet.data.stored import Int64Array
from thumbnet.errors import InputError

UNBALANCED = 5
"""Ratio between the largest and the smallest class from which a dataset is called unbalanced."""


def require_two_classes(title: str, class_names: Sequence[str], labels: Int64Array) -> None:
    """Check that the training images have at least two classes.

    Raises:
        InputError: they all belong to one class.
    """
    there = np.unique(labels)
    if len(there) == 1:
        raise InputError(
            f"all training images in {title} belong to one class, {class_names[there[0]]}; a "
            "classifier needs at least two classes"
        )


def class_problems(
    class_names: Sequence[str],
    labels: Int64Array,
    splits: Int64Array,
    groups: Int64Array | None = None,
) -> Iterator[Problem]:
    """Problems with classes: too few, too small, missing from a split, or similar names.

    Args:
        class_names: in the order of the labels.
        labels: int64 array of shape (n,).
        splits: int64 array of shape (n,), after a test split was held out.
        groups: as in `LabelledImages`.
    """
    size = len(class_names)
    if len(labels) == 0:
        return
    counts = {
        split: np.bincount(labels[splits == split], minlength=size)
        for split in np.unique(splits).tolist()
    }
    training = counts.get(TRAIN, np.zeros(size, np.int64))
    if np.count_nonzero(training) == 1:
        yield Problem(
            "one class",
            class_names[int(training.argmax())],
            "is the only class with training images",
            "add images of another class, or give a folder that contains a folder for each class",
            stops_training=True,
        )
    yield from _missing(class_names, counts)
    if VALIDATION not in counts:
        yield from _too_small(class_names, labels[splits == TRAIN], groups, splits)
    yield from _unbalanced(class_names, training)
    yield from _similar(class_names)


def _missing(class_names: Sequence[str], counts: dict[int, Int64Array]) -> Iterator[Problem]:
    total = np.sum(list(counts.values()), axis=0)
    for label, name in enumerate(class_names):
        for split, there in sorted(counts.items()):
            if there[label] or not total[label]:
                continue
            yield Problem(
                "missing class",
                name,
                f"has no images in the {SPLIT_NAMES[split]} split",
                "add some, or remove the class from the other splits",
                stops_training=split == TRAIN,
            )


def _too_small(
    class_names: Sequence[str],
    training_labels: Int64Array,
    groups: Int64Array | None,
    splits: Int64Array,
) -> Iterator[Problem]:
    """Classes too small to be split into training and validation images."""
    units, what = training_labels, "image"
    if groups is not None:
        pairs = np.stack([training_labels, groups[splits == TRAIN]])
        units, what = np.unique(pairs, axis=1)[0], "group of images"
    for label in np.flatnonzero(np.bincount(units, minlength=len(class_names)) == 1).tolist():
        yield Problem(
            "small class",
            class_names[label],
            f"has only one training {what}; the validation split needs one too",
            "add images, remove the class, or use `thumbnet train` with --validation 0",
            stops_training=True,
        )


def _unbalanced(class_names: Sequence[str], training: Int64Array) -> Iterator[Problem]:
    large = int(training.argmax())
    small = int(np.where(training, training, training.max()).argmin())
    if training[large] >= UNBALANCED * training[small] > 0:
        yield Problem(
            "unbalanced",
            class_names[small],
            f"has {training[small]:,} training image{'' if training[small] == 1 else 's'}, while "
            f"{class_names[large]} has {training[large]:,}",
            'add images, or train with balance = "class_weights" or "sampling"',
        )


def _similar(class_names: Sequence[str]) -> Iterator[Problem]:
    """Class names that differ only in case, spaces or Unicode form."""
    by_key = defaultdict(list)
    for name in class_names:
        by_key["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    for first, *others in by_key.values():
        for other in others:
            yield Problem(
                "similar names",
                other,
                f"has nearly the same name as the class {first}",
                "use the same name for both if they are one class",
            )
