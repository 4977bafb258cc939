"""From a listing and the pixels of its images to a data set."""

from collections.abc import Mapping

import numpy as np

from thumbnet.data.classes import require_two_classes
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.groups import numbered_groups
from thumbnet.data.holdout import hash_names, with_test_part
from thumbnet.data.listing import SPLIT_NAMES, TEST, TRAIN, VALIDATION, Listing
from thumbnet.data.reading import Reading
from thumbnet.data.stored import Images, StoredImages, UInt8Array
from thumbnet.errors import InputError, shown

IN_MEMORY = 1 << 28
"""Bytes of pixels that are copied into memory; more stay in their file."""
_LEFT_OUT = -1


def require_test_part(listing: Listing, reading: Reading) -> None:
    """Refuse data without a test part of their own where the user asks for one.

    Raises:
        InputError: there is none.
    """
    if reading.require_test and not (listing.splits == TEST).any():
        raise InputError(
            f"{listing.title} has no test part, which --require-test asks for; add one, or leave "
            "that out to have one held out"
        )


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
        InputError: a part is empty or missing, or training images lack a class that another part
            has.
    """
    require_test_part(listing, reading)
    bad, labels, path = bad or {}, listing.labels, listing.path.resolve()
    splits, held_out = with_test_part(listing)
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
            f"{listing.title} has no test part, and none can be held out, as no class has two "
            f"{what}; add some"
        )
    if len(train):
        require_two_classes(listing.title, listing.class_names, train.labels)
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
    """Mapped pixels as an array in memory, unless they are many: then they stay in their file."""
    if pixels.nbytes <= IN_MEMORY:
        return np.asarray(pixels)
    return StoredImages(pixels, np.arange(len(pixels)))
