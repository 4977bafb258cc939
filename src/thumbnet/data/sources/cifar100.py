"""CIFAR-100 from its official archives or their unpacked folders."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.reading import Reading
from thumbnet.data.sources.archive import read_folder, read_tar
from thumbnet.data.sources.pickled import read_pickled_batch, read_pickled_names
from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError, shown

ARCHIVE_SHA256 = {
    # From Keras. There are no published digests of the content.
    "cifar-100-python": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
}
CLASSES = {"coarse": 20, "fine": 100}
LABELS = tuple(CLASSES)
PIXELS = 32 * 32 * 3
LARGEST_FILE = 200_000_000
"""In bytes; the pickled training split has 155 MB."""


@dataclass(frozen=True)
class Layout:
    """One of the two official archives.

    Attributes:
        folder: the folder that it unpacks to.
        files: the names of its files.
    """

    folder: str
    files: tuple[str, ...]


LAYOUTS = (
    Layout(
        "cifar-100-binary",
        ("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt"),
    ),
    Layout("cifar-100-python", ("train", "test", "meta")),
)


def layout_in(folder: Path) -> tuple[Path, Layout] | None:
    """The folder of CIFAR-100, which is `folder` or inside it, and its layout; None if absent."""
    for layout in LAYOUTS:
        for place in (folder / layout.folder, folder):
            if all((place / name).is_file() for name in layout.files):
                return place, layout
    return None


def read_cifar100(path: Path, reading: Reading) -> Dataset:
    """Read an official archive or its folder, with fine or coarse labels.

    Raises:
        InputError: it is damaged or incomplete, or `reading.label` is neither fine nor coarse.
    """
    kind = reading.label or "fine"
    if kind not in LABELS:
        raise InputError(
            f"--label {kind}: CIFAR-100 has no such labels; choose {' or '.join(LABELS)}"
        )
    place = layout_in(path) if path.is_dir() else None
    if place is not None:
        folder, layout = place
        files = dict(read_folder(folder, layout.files, LARGEST_FILE))
        origin = ""
    else:
        every = [name for layout in LAYOUTS for name in layout.files]
        files = dict(read_tar(path, every, LARGEST_FILE))
        layout = max(LAYOUTS, key=lambda one: len(files.keys() & set(one.files)))
        origin = _describe_archive(path, layout)
    if missing := sorted(set(layout.files) - files.keys()):
        raise InputError(f"{shown(path)} is incomplete: {', '.join(missing)} missing")
    names = _class_names(files, kind, path)
    return Dataset(
        name="cifar100" if kind == "fine" else "cifar100-coarse",
        class_names=names,
        train=_read_part(files, "train", kind, path),
        test=_read_part(files, "test", kind, path),
        source=f"official {layout.folder}{origin} {shown(path)}, {kind} labels",
        path=path,
        reading=reading,
    )


def _describe_archive(path: Path, layout: Layout) -> str:
    expected = ARCHIVE_SHA256.get(layout.folder)
    if expected is None:
        return " archive"
    with open(path, "rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == expected
    return f" archive (its SHA-256 is {'' if same else 'not '}the published one)"


def _class_names(files: Mapping[str, bytes], kind: str, path: Path) -> tuple[str, ...]:
    where = shown(path)
    if "meta" in files:
        names = read_pickled_names(
            files["meta"], f"meta in {where}", f"{kind}_label_names".encode()
        )
    else:
        try:
            names = files[f"{kind}_label_names.txt"].decode("ascii").split()
        except UnicodeDecodeError as error:
            raise InputError(f"{kind}_label_names.txt in {where} is not ASCII text") from error
    if len(set(names)) != CLASSES[kind]:
        raise InputError(
            f"{where} has names of {len(set(names))} {kind} classes; CIFAR-100 has {CLASSES[kind]}"
        )
    return tuple(map(shown, names))


def _read_part(files: Mapping[str, bytes], part: str, kind: str, path: Path) -> LabelledImages:
    if part in files:
        where = f"{part} in {shown(path)}"
        pixels, values = read_pickled_batch(files[part], where, f"{kind}_labels".encode())
        labels = np.array([v if type(v) is int else -1 for v in values], np.int64)
    else:
        where = f"{part}.bin in {shown(path)}"
        data = files[f"{part}.bin"]
        if len(data) % (2 + PIXELS):
            raise InputError(
                f"{where} has {len(data)} bytes, which is not a multiple of the record size of "
                f"{2 + PIXELS}; it is truncated, so download it again"
            )
        records = np.frombuffer(data, np.uint8).reshape(-1, 2 + PIXELS)
        pixels, labels = records[:, 2:], records[:, LABELS.index(kind)].astype(np.int64)
    if pixels.shape != (len(labels), PIXELS) or len(labels) == 0:
        raise InputError(
            f"{where} contains pixels of shape {pixels.shape} and {len(labels)} labels; expected "
            f"{PIXELS} pixels for each label"
        )
    return LabelledImages(_channels_last(pixels), labels)


def _channels_last(pixels: UInt8Array) -> UInt8Array:
    """Convert rows of three channel planes to images of shape (n, 32, 32, 3)."""
    return np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
