"""Pictures that belong together, such as the frames of one video, by the names of their files."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from thumbnet.data.listing import TEST, VALIDATION, Listing, Problem
from thumbnet.data.stored import Int64Array
from thumbnet.errors import InputError, shown

SERIES_PATTERN = r"(.+\D)\d+\.\w+$"
"""Finds in a path what comes before the last number: the series of a numbered picture."""
_LEAST_IN_SERIES = 3
_SERIES = re.compile(SERIES_PATTERN)


def groups_of_names(names: Sequence[str], pattern: str) -> list[str]:
    """The group of each name: what a regular expression finds in it.

    Args:
        names: paths, with "/".
        pattern: is searched for; the group is what its parentheses hold, or else the whole match.
            A name in which it is not found is a group of its own.

    Raises:
        InputError: it is not a regular expression, or is found in no name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(f"--group {pattern}: not a regular expression: {error}") from error
    matches = [compiled.search(name) for name in names]
    if not any(matches):
        example = f", such as {names[0]}" if names else ""
        raise InputError(
            f"--group {pattern}: found in no path of a picture{example}; give a regular expression "
            "that finds what pictures of one group have in common"
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
    """Advice where names look numbered in series and images will be held out one by one."""
    complete = {VALIDATION, TEST} <= set(np.unique(listing.splits).tolist())
    if listing.groups or complete or not listing.has_names or not look_like_series(listing.names):
        return None
    return Problem(
        "series",
        shown(listing.path),
        "holds pictures whose names look numbered in series, like the frames of a video; if those "
        "of one series are alike, the test is too easy",
        f"keep each series in one part with --group '{SERIES_PATTERN}'",
    )


def look_like_series(names: Sequence[str]) -> bool:
    """Whether most pictures are numbered within several series in one folder, as frames are.

    `video1_003.png` and `00014_00029.ppm` are, `cat12.jpg` among other cats is not: all of a
    folder would be one series.
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
