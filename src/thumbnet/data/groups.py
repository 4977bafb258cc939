"""Groups of images that belong together, such as the frames of one video, from their file names."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from thumbnet.data.listing import TEST, VALIDATION, Listing, Problem
from thumbnet.data.stored import Int64Array
from thumbnet.errors import InputError, shown

SERIES_PATTERN = r"(.+\D)\d+\.\w+$"
"""Matches the part of a path before the last number: the series of a numbered image."""
_LEAST_IN_SERIES = 3
_SERIES = re.compile(SERIES_PATTERN)


def groups_of_names(names: Sequence[str], pattern: str) -> list[str]:
    """The group of each name: the text that matches a regular expression.

    Args:
        names: paths, with "/".
        pattern: the regular expression to search for. The group is the text matched by its
            capturing groups, or the whole match if it has none. A name without a match is a group
            of its own.

    Raises:
        InputError: it is not a regular expression, or matches no name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--group {pattern} is not a regular expression: {error}") from error
    matches = [compiled.search(name) for name in names]
    if not any(matches):
        example = f", such as {names[0]}" if names else ""
        raise InputError(
            f"--group {pattern} matches no image path{example}; give a regular expression that "
            "matches what the paths of a group have in common"
        )
    return [
        name if match is None else "\0".join(map(str, match.groups())) or match[0]
        for name, match in zip(names, matches, strict=True)
    ]


def numbered_groups(groups: Sequence[str]) -> Int64Array:
    """A number for each group: int64 array of shape (n,)."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)


def series_problem(listing: Listing) -> Problem | None:
    """Advice if the names look like numbered series and images are held out individually."""
    complete = {VALIDATION, TEST} <= set(np.unique(listing.splits).tolist())
    if listing.groups or complete or not listing.has_names or not look_like_series(listing.names):
        return None
    return Problem(
        "series",
        shown(listing.path),
        "contains images whose names look like numbered series, such as video frames; if images of "
        "the same series are alike, test accuracy will be too high",
        f"keep each series in one split with --group '{SERIES_PATTERN}'",
    )


def look_like_series(names: Sequence[str]) -> bool:
    """Whether most images belong to one of several numbered series in a folder, like video frames.

    This is true of `video1_003.png` and `00014_00029.ppm`, but not of `cat12.jpg` among other
    cats, as the whole folder would be one series.
    """
    series = Counter(_series(name) for name in names)
    series.pop("", None)
    long = {key: count for key, count in series.items() if count >= _LEAST_IN_SERIES}
    folders = Counter(str(PurePosixPath(key).parent) for key in long)
    within = sum(
        count for key, count in long.items() if folders[str(PurePosixPath(key).parent)] > 1
    )
    return within > len(names) / 2


def _series(name: str) -> str:
    match = _SERIES.search(name)
    return match[1] if match and not match[1].endswith("/") else ""
