"""Selecting a fraction of the training images, for validation or as a subset."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from thumbnet.data.stored import Int64Array
from thumbnet.errors import InputError

_MAX_LISTED = 5
"""Maximum number of classes listed in an error message."""


def stratified_split(
    labels: Int64Array,
    validation: float,
    seed: int,
    groups: Int64Array | None = None,
    class_names: Sequence[str] = (),
) -> tuple[Int64Array, Int64Array]:
    """Split the training images into a training and a validation split, stratified by class.

    Both splits contain every class. For a small class, the validation split contains one image,
    which may be a larger fraction than `validation`.

    Args:
        labels: int64 array of shape (n,).
        validation: fraction of the images to hold out; at least 0 (none) and below 1.
        seed: the same seed gives the same split.
        groups: int64 array of shape (n,); images of one group stay in one split. None if the
            images are independent.
        class_names: one name for each label, for messages.

    Returns:
        Training and validation indices: two sorted, disjoint int64 arrays that cover all images.

    Raises:
        InputError: a class has too few images, or groups, to be in both splits.
    """
    if validation == 0:
        return np.arange(len(labels)), np.arange(0)
    _require_two_of_each_class(labels, validation, groups, class_names)
    held_out = _draw(labels, validation, seed, groups)
    rest = np.setdiff1d(np.arange(len(labels)), held_out)
    if missing := _classes_without(labels, rest) | _classes_without(labels, held_out):
        raise InputError(
            "cannot hold out whole groups for validation and keep every class in both splits: "
            f"{_listed(missing, class_names)} would be missing in one of them; use smaller groups, "
            "or `thumbnet train` with --validation 0"
        )
    return rest, held_out


def stratified_subset(labels: Int64Array, subset: float, seed: int) -> Int64Array:
    """Choose a fraction of the images, stratified by class, with at least one image per class.

    Args:
        labels: int64 array of shape (n,).
        subset: fraction of the images to choose, above 0 and below 1.
        seed: the same seed gives the same images.

    Returns:
        A sorted int64 array of indices.
    """
    return _draw(labels, subset, seed, groups=None)


def _require_two_of_each_class(
    labels: Int64Array, validation: float, groups: Int64Array | None, class_names: Sequence[str]
) -> None:
    # One image per group and class: only the number of groups matters.
    units = labels if groups is None else np.unique(np.stack([labels, groups]), axis=1)[0]
    if small := {label for label, count in Counter(units.tolist()).items() if count < 2}:
        what = "image" if groups is None else "group of images"
        raise InputError(
            f"{_listed(small, class_names)}: there is only one training {what}, and validation = "
            f"{validation:g} needs another; add images, remove the class, or use "
            "`thumbnet train` with --validation 0"
        )


def _listed(labels: set[int], class_names: Sequence[str]) -> str:
    names = [class_names[label] if class_names else str(label) for label in sorted(labels)]
    more = f" and {len(names) - _MAX_LISTED:,} more" if len(names) > _MAX_LISTED else ""
    return f"class{'es' if len(names) > 1 else ''} {', '.join(names[:_MAX_LISTED])}{more}"


def _draw(labels: Int64Array, fraction: float, seed: int, groups: Int64Array | None) -> Int64Array:
    """Sorted indices of a fraction of each class, with at least one image of each."""
    if groups is None:
        return _draw_images(labels, fraction, seed)
    return _draw_groups(labels, fraction, seed, groups)


def _draw_images(labels: Int64Array, fraction: float, seed: int) -> Int64Array:
    from sklearn.model_selection import train_test_split

    generator = np.random.default_rng(seed)
    everything = np.arange(len(labels))
    try:
        _, drawn = train_test_split(
            everything, test_size=fraction, stratify=labels, random_state=seed
        )
    except ValueError:  # fewer images than classes, or a class with one image
        drawn = everything[:0]
    taken = np.isin(everything, drawn)
    for label in _classes_without(labels, drawn):
        members = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(members)))
        taken[generator.choice(members, count, replace=False)] = True
    for label in _classes_without(labels, np.flatnonzero(~taken)):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            taken[generator.choice(members)] = False
    return np.flatnonzero(taken)


def _draw_groups(labels: Int64Array, fraction: float, seed: int, groups: Int64Array) -> Int64Array:
    """Visit the groups in random order, and draw each that brings its classes closer to `fraction`.

    Afterwards, the smallest group of a class is drawn if the class has none, and put back if all of
    its groups were drawn. scikit-learn's `StratifiedGroupKFold` only supports fractions of 1/k and
    may miss a small class.
    """
    names, group_of = np.unique(groups, return_inverse=True)
    counts: list[Counter[int]] = [Counter() for _ in names]
    for number, label in zip(group_of.tolist(), labels.tolist(), strict=True):
        counts[number][label] += 1
    total, drawn = Counter(labels.tolist()), Counter[int]()
    taken = np.zeros(len(names), bool)
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    for number in order:
        lacking = {label: fraction * total[label] - drawn[label] for label in counts[number]}
        if sum(abs(lacking[k]) - abs(lacking[k] - n) for k, n in counts[number].items()) > 0:
            taken[number] = True
            drawn.update(counts[number])
    of_class: dict[int, list[int]] = defaultdict(list)
    for number in sorted(order, key=lambda number: counts[number].total()):
        for label in counts[number]:
            of_class[label].append(number)
    for numbers in of_class.values():
        if not taken[numbers].any():
            taken[numbers[0]] = True
        elif len(numbers) > 1 and taken[numbers].all():
            taken[numbers[0]] = False
    return np.flatnonzero(taken[group_of])


def _classes_without(labels: Int64Array, chosen: Int64Array) -> set[int]:
    """Labels that do not occur among the chosen images."""
    return set(np.setdiff1d(labels, labels[chosen]).tolist())
