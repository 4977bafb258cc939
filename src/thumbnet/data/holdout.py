"""Holding out a test split, based only on the names of the images."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from thumbnet.data.listing import TEST, TRAIN, VALIDATION, Listing
from thumbnet.data.stored import Int64Array

HELD_OUT = 0.2
"""Fraction of the images held out for testing."""

UInt64Array = npt.NDArray[np.uint64]


def with_test_split(listing: Listing) -> tuple[Int64Array, str]:
    """Hold out some images of each class for testing, unless there is a test split.

    An image is held out if the hash of its name, or of its group's name, is below a threshold.
    This does not depend on the other images, so adding images moves none from one split to
    another. Small classes are an exception: if no hash of a class is below the threshold, the
    image with the lowest hash is held out. The images with the highest hashes are always kept:
    one for validation, and for training two of three or more, or one of two.

    Returns:
        The splits, and a description of what was held out; empty if nothing was.
    """
    if (listing.splits == TEST).any():
        return listing.splits, ""
    hashes = hash_names(listing.groups or listing.names)
    held_out = hashes < np.uint64(HELD_OUT * 2**64)
    order = np.argsort(listing.labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(listing.labels[order])) + 1):
        units = np.unique(hashes[members])
        if len(units) > 1 and not held_out[members].any():
            held_out[hashes == units[0]] = True
        for split, least in ((TRAIN, min(2, len(units) - 1)), (VALIDATION, 1)):
            of_part = members[listing.splits[members] == split]
            for unit in np.unique(hashes[of_part])[-max(1, least) :]:
                held_out[hashes == unit] = False
    has_validation = (listing.splits == VALIDATION).any()
    images = "the training and validation images" if has_validation else "the images"
    whole = ", in whole groups," if listing.groups else ""
    return (
        np.where(held_out, TEST, listing.splits),
        f"no test split: about {HELD_OUT:.0%} of {images}{whole} held out for it",
    )


def hash_names(names: Sequence[str]) -> UInt64Array:
    """A reproducible hash of each name: uint64 array of shape (n,)."""
    hashes = b"".join(
        hashlib.blake2b(name.encode(errors="replace"), digest_size=8).digest() for name in names
    )
    return np.frombuffer(hashes, ">u8").astype(np.uint64)
