"""Classes that training refuses, or whose size or name its owner should know about."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from thumbnet.data.listing import SPLIT_NAMES, TRAIN, VALIDATION, Problem
from thumbnet.data.stored import Int64Array
from thumbnet.errors import InputError

UNBALANCED = 5
"""How many times as many training images the largest class may have as the smallest."""


def require_two_classes(title: str, class_names: Sequence[str], labels: Int64Array) -> None:
    """Refuse training images of a single class.

    Raises:
        InputError: naming it.
    """
    there = np.unique(labels)
    if len(there) == 1:
        raise InputError(
            f"all training images of {title} are of one class, {class_names[there[0]]}; a "
            "classifier needs images of two classes or more"
        )


def class_problems(
    class_names: Sequence[str],
    labels: Int64Array,
    splits: Int64Array,
    groups: Int64Array | None = None,
) -> Iterator[Problem]:
    """Classes that are too few or too small, missing from a part, or of nearly the same name.

    Args:
        class_names: in the order of the labels.
        labels: int64 array of shape (n,).
        splits: int64 array of shape (n,), after a test part was held out.
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
            "add images of another class, or name a folder that holds a folder for each class",
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
                f"has no image in the {SPLIT_NAMES[split]} part",
                "add some, or remove the class from the other parts",
                stops_training=split == TRAIN,
            )


def _too_small(
    class_names: Sequence[str],
    training_labels: Int64Array,
    groups: Int64Array | None,
    splits: Int64Array,
) -> Iterator[Problem]:
    """Classes that cannot be both trained on and validated."""
    units, what = training_labels, "image"
    if groups is not None:
        pairs = np.stack([training_labels, groups[splits == TRAIN]])
        units, what = np.unique(pairs, axis=1)[0], "group of images"
    for label in np.flatnonzero(np.bincount(units, minlength=len(class_names)) == 1).tolist():
        yield Problem(
            "small class",
            class_names[label],
            f"has only one training {what}, and validation needs another",
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
            f"has {training[small]:,} training image{'' if training[small] == 1 else 's'}, and "
            f"{class_names[large]} has {training[large]:,}",
            'add images of it, or train with balance = "class_weights" or "sampling"',
        )


def _similar(class_names: Sequence[str]) -> Iterator[Problem]:
    """Names that differ by case, spaces or the form of their letters alone."""
    by_key = defaultdict(list)
    for name in class_names:
        by_key["".join(unicodedata.normalize("NFKC", name).casefold().split())].append(name)
    for first, *others in by_key.values():
        for other in others:
            yield Problem(
                "similar names",
                other,
                f"has nearly the same name as the class {first}",
                "give both one name if they are one class",
            )
