"""Building a dataset from a listing and its pixels."""

from collections.abc import Mapping

import numpy as np

from thumbnet.data.classes import require_two_classes
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.groups import numbered_groups
from thumbnet.data.holdout import hash_names, with_test_split
from thumbnet.data.listing import SPLIT_NAMES, TEST, TRAIN, VALIDATION, Listing
from thumbnet.data.reading import Reading
from thumbnet.data.stored import Images, StoredImages, UInt8Array
from thumbnet.errors import InputError, shown

IN_MEMORY = 1 << 28
"""Largest size in bytes of pixels that are copied into memory; larger data stay on disk."""
_LEFT_OUT = -1


def require_test_split(listing: Listing, reading: Reading) -> None:
    """Check that the data have their own test split, if the user requires one.

    Raises:
        InputError: they have none.
    """
    if reading.require_test and not (listing.splits == TEST).any():
        raise InputError(
            f"{listing.title} has no test split, which --require-test requires; add one, or omit "
            "--require-test to hold out some of the images"
        )


def assemble(
    listing: Listing, images: Images, reading: Reading, bad: Mapping[int, str] | None = None
) -> Dataset:
    """Make a dataset from labelled images and their splits.

    The training images are shuffled in an order that depends only on their names: files are listed
    class by class, and models estimate statistics from the first images.

    Args:
        listing: the labels and splits.
        images: array of shape (n, height, width, channels).
        reading: how the files were read.
        bad: error messages by index of images to skip.

    Raises:
        InputError: a split is empty or missing, or has a class without training images.
    """
    require_test_split(listing, reading)
    bad, labels, path = bad or {}, listing.labels, listing.path.resolve()
    splits, held_out = with_test_split(listing)
    splits = splits.copy()
    splits[list(bad)] = _LEFT_OUT
    order = np.argsort(hash_names(listing.names), kind="stable")
    names = tuple(map(shown, listing.names)) if listing.has_names else ()
    groups = numbered_groups(listing.groups) if listing.groups else None
    everything = LabelledImages(images, labels, names, groups)
    train, validation, test = (
        everything.take(chosen)
        for chosen in (
            order[splits[order] == TRAIN],
            np.flatnonzero(splits == VALIDATION),
            np.flatnonzero(splits == TEST),
        )
    )
    if held_out and not len(test):
        what = "groups of images" if listing.groups else "images"
        raise InputError(
            f"{listing.title} has no test split, and none can be held out because no class has two "
            f"{what}; add some"
        )
    if len(train):
        require_two_classes(listing.title, listing.class_names, train.labels)
    for split, part in ((VALIDATION, validation), (TEST, test)):
        unknown = np.setdiff1d(part.labels, train.labels)
        if len(unknown) and len(train):
            raise InputError(
                f"the class {listing.class_names[unknown[0]]} is in the {SPLIT_NAMES[split]} split "
                f"of {listing.title} but not in the train split; add training images of it, or "
                "remove it"
            )
    skipped = (*listing.lost, *bad.values())
    left_out = f"{len(skipped):,} skipped" if skipped else ""
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
    """Memory-mapped pixels copied into memory if they are small enough, otherwise as they are."""
    if pixels.nbytes <= IN_MEMORY:
        return np.asarray(pixels)
    return StoredImages(pixels, np.arange(len(pixels)))
