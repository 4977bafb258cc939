"""Checks of a dataset before training."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from thumbnet.data.classes import class_problems
from thumbnet.data.dataset import Dataset
from thumbnet.data.decoding import TASK, batched, in_parallel, named
from thumbnet.data.duplicates import DIGEST_BYTES, image_digests
from thumbnet.data.encoded import EncodedImages
from thumbnet.data.groups import numbered_groups, series_problem
from thumbnet.data.holdout import with_test_split
from thumbnet.data.images import Picture, open_picture, silent_pillow
from thumbnet.data.listing import SPLIT_NAMES, TEST, Listing, Problem
from thumbnet.data.load import read_or_list
from thumbnet.data.reading import Reading
from thumbnet.data.sources.locate import ignore
from thumbnet.data.sources.patience import Report
from thumbnet.data.stored import Int64Array
from thumbnet.errors import InputError, shown
from thumbnet.paths import expanded

NEEDED = (256, 256)
"""Height and width to decode for the checks, so that large JPEG images are not decoded in full."""


@dataclass(frozen=True)
class CheckedData:
    """The result of a check.

    Attributes:
        images: number of images.
        problems: problems to fix, the most serious first.
    """

    images: int
    problems: tuple[Problem, ...]

    @property
    def is_usable(self) -> bool:
        """Whether training accepts the data and its test metrics will be valid."""
        return all(problem.is_advice for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"images": self.images, "problems": [vars(problem) for problem in self.problems]}


def check_data(
    path: str | Path,
    label: str | None = None,
    report: Report = ignore,
    path_column: str | None = None,
    group: str | None = None,
    max_megapixels: int = 50,
) -> CheckedData:
    """Open every image of a dataset and look for problems.

    Args:
        path: as for `thumbnet.load`.
        label: the label to use, if there are several.
        report: called with progress messages.
        path_column: the column of a table that contains the paths.
        group: as for `thumbnet.load`.
        max_megapixels: as for `thumbnet.load`.

    Raises:
        InputError: `path` cannot be read as a dataset.
    """
    reading = Reading.check(
        {
            "label": label,
            "path_column": path_column,
            "group": group,
            "max_megapixels": max_megapixels,
        }
    )
    found = read_or_list(expanded(path), reading)
    if not isinstance(found, Dataset):
        report(f"opening {len(found[1]):,} images of {shown(path)}")
        images = _Images.of_pictures(*found, reading)
    else:
        images = _Images.of_dataset(found)
    problems = [
        *images.problems,
        *class_problems(images.class_names, images.labels, images.splits, images.groups),
        *_duplicates(images),
        *_groups_across_splits(images),
    ]
    # Problems that stop training come first; the sort is stable.
    problems.sort(key=lambda problem: (not problem.stops_training, problem.is_advice))
    return CheckedData(len(images.labels), tuple(problems))


@dataclass(frozen=True, eq=False)
class _Images:
    """What the checks need to know about each image.

    Attributes:
        class_names: in the order of the labels.
        labels: int64 array of shape (n,).
        splits: int64 array of shape (n,).
        groups: as in `LabelledImages`.
        name: returns the name of the image at an index.
        digests: `DIGEST_BYTES` bytes for each image; zeros if it cannot be read.
        problems: problems of individual images.
    """

    class_names: tuple[str, ...]
    labels: Int64Array
    splits: Int64Array
    groups: Int64Array | None
    name: Callable[[int], str]
    digests: bytes
    problems: list[Problem]

    @classmethod
    def of_dataset(cls, dataset: Dataset) -> "_Images":
        digests = bytearray()
        splits = []
        names = []
        for part, images in dataset.parts.items():
            digests += image_digests(images.images)
            splits += [SPLIT_NAMES.index(part)] * len(images)
            names += [f"{shown(dataset.path or '')} {part} image {i}" for i in range(len(images))]
        return cls(
            class_names=dataset.class_names,
            labels=np.concatenate([part.labels for part in dataset.parts.values()]),
            splits=np.array(splits, np.int64),
            groups=None,
            name=names.__getitem__,
            digests=bytes(digests),
            problems=[],
        )

    @classmethod
    def of_pictures(cls, listing: Listing, pictures: EncodedImages, reading: Reading) -> "_Images":
        digests = bytearray()
        problems = [*listing.problems, *filter(None, [series_problem(listing)])]

        def inspect(some: list[tuple[str, Path | bytes]]) -> list[tuple[bytes, list[Problem]]]:
            return [_inspect(name, source, reading.maximum_pixels) for name, source in some]

        with silent_pillow(reading.maximum_pixels):
            for some in in_parallel(inspect, batched(named(pictures), TASK)):
                for digest, found in some:
                    digests += digest
                    problems += found
        splits, _ = with_test_split(listing)
        return cls(
            class_names=listing.class_names,
            labels=listing.labels,
            splits=splits,
            groups=numbered_groups(listing.groups) if listing.groups else None,
            name=pictures.where,
            digests=bytes(digests),
            problems=problems,
        )


def _inspect(name: str, source: Path | bytes, maximum_pixels: int) -> tuple[bytes, list[Problem]]:
    """Digest of an image's pixels, and the problems found in it."""
    path = shown(source) if isinstance(source, Path) else name
    try:
        picture = open_picture(source, name, maximum_pixels, needed=NEEDED)
    except InputError as error:
        message = str(error).removeprefix(path).strip()
        remedy = "repair or remove it, or train with --on-bad-image skip"
        return bytes(DIGEST_BYTES), [Problem("bad picture", path, message, remedy, True)]
    content = str(picture.size).encode() + picture.image.tobytes()
    digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
    return digest, list(_format_problems(path, source, picture))


def _format_problems(path: str, source: Path | bytes, picture: Picture) -> Iterator[Problem]:
    """Properties that may make the image be read differently than its owner expects."""
    if picture.animated:
        yield Problem(
            "animated",
            path,
            "has several frames or pages; only the first is read",
            "save the frame you want as a separate image",
        )
    if picture.deep:
        yield Problem(
            "16 bits",
            path,
            "has more than 8 bits per channel; only the upper 8 bits are used",
            "rescale the values to the range that matters and save it with 8 bits",
        )
    if picture.mode in ("CMYK", "YCCK"):
        yield Problem(
            "CMYK",
            path,
            "uses CMYK colours, which are converted without their colour profile",
            "save it as RGB",
        )
    if isinstance(source, Path):
        suffix = source.suffix.lower()
        expected = Image.registered_extensions().get(suffix, "").replace("MPO", "JPEG")
        if expected and expected != picture.format:
            yield Problem(
                "wrong suffix",
                path,
                f"contains {picture.format} data, not {suffix}",
                "rename it",
            )
        if not _is_text(str(source)):
            yield Problem("name", path, "has a name that is not UTF-8", "rename it")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _duplicates(images: _Images) -> Iterator[Problem]:
    """Images with the same pixels in more than one split or class."""
    keys = np.frombuffer(images.digests, f"V{DIGEST_BYTES}")
    _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(counts[group] > 1)
    order = repeated[np.argsort(group[repeated], kind="stable")]
    for members in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(members) == 0 or keys[members[0]].tobytes() == bytes(DIGEST_BYTES):
            continue
        # Name the test image first: it is the one to remove.
        first, *others = sorted(members.tolist(), key=lambda i: -images.splits[i])
        for other in others:
            parts = images.splits[[first, other]]
            labels = images.labels[[first, other]]
            if parts[0] != parts[1]:
                yield Problem(
                    "duplicate",
                    images.name(first),
                    f"is in the {SPLIT_NAMES[parts[0]]} split and has the same pixels as "
                    f"{images.name(other)} in the {SPLIT_NAMES[parts[1]]} split",
                    "remove one of them",
                    spoils_figures=True,
                )
            elif labels[0] != labels[1]:
                yield Problem(
                    "two labels",
                    images.name(first),
                    f"is labelled {images.class_names[labels[0]]} and has the same pixels as "
                    f"{images.name(other)}, labelled {images.class_names[labels[1]]}",
                    "remove one of them",
                    spoils_figures=parts[0] == TEST,
                )


def _groups_across_splits(images: _Images) -> Iterator[Problem]:
    """Groups whose images are in more than one of the user's own splits."""
    if images.groups is None:
        return
    order = np.argsort(images.groups, kind="stable")
    bounds = np.flatnonzero(np.diff(images.groups[order])) + 1
    for members in np.split(order, bounds):
        parts = np.unique(images.splits[members]).tolist()
        if len(parts) > 1:
            yield Problem(
                "divided group",
                images.name(int(members[0])),
                f"belongs to a group of {len(members):,} images that is spread over the "
                f"{' and '.join(SPLIT_NAMES[part] for part in parts)} splits",
                "move them all into one split",
                spoils_figures=True,
            )
