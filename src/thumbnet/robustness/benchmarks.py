"""Reading published robustness benchmarks from the user's files: CIFAR-10-C and CIFAR-10.1."""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import Int64Array, LabelledImages
from thumbnet.engines import file_digest
from thumbnet.errors import InputError

# SHA-256, as in TensorFlow Datasets.
CIFAR_10_C_TAR = "c72763e101c723b7c507b96205f7e938912a5d587376173b825850cf3cb876a7"
CIFAR_10_1_V6 = {
    "cifar10.1_v6_data.npy": "2997188e5816f5bd545dc77771b6227828c28146049fcecf3fa10775474cacc6",
    "cifar10.1_v6_labels.npy": "ae40beda001693674edc94d925ee8268cfe68905f8f9aff800c8dcdfcd6c9448",
}
_SEVERITIES = 5


@dataclass(frozen=True, eq=False)
class BenchmarkSet:
    """One test set of a benchmark.

    Attributes:
        benchmark: "CIFAR-10-C" or "CIFAR-10.1 v6".
        name: the corruption; empty for CIFAR-10.1.
        severity: 1 to 5; 0 for CIFAR-10.1.
        images: the images with their labels.
        checked: a description of how the files were verified.
    """

    benchmark: str
    name: str
    severity: int
    images: LabelledImages
    checked: str


def read_benchmark(path: Path, test_labels: Int64Array) -> Iterator[BenchmarkSet]:
    """Read a benchmark one test set at a time, as all of CIFAR-10-C has 3 GB.

    Args:
        path: `CIFAR-10-C.tar`, the folder it unpacks to, or a folder with the files of
            CIFAR-10.1 v6.
        test_labels: labels of the CIFAR-10 test images, which are repeated in CIFAR-10-C.

    Raises:
        InputError: files are missing, or are not the published ones.
    """
    if path.is_file():
        yield from _read_tar(path, test_labels)
    elif (path / "labels.npy").is_file():
        names = sorted(file.stem for file in path.glob("*.npy") if file.stem != "labels")
        if not names:
            raise InputError(
                f"{path} contains labels.npy but no images; unpack CIFAR-10-C.tar again"
            )
        labels = _load(path / "labels.npy")
        how = "by shape and labels (no digest of the single files is published)"
        for name in names:
            images = _load(path / f"{name}.npy")
            yield from _corrupted_sets(images, labels, name, test_labels, how)
    elif (path / "cifar10.1_v6_data.npy").is_file():
        yield _read_cifar_10_1(path)
    else:
        raise InputError(
            f"{path} is not a known benchmark; give CIFAR-10-C.tar, a folder of CIFAR-10-C (with "
            "labels.npy), or a folder of CIFAR-10.1 (with cifar10.1_v6_data.npy)"
        )


def _read_tar(path: Path, test_labels: Int64Array) -> Iterator[BenchmarkSet]:
    if file_digest(path) != CIFAR_10_C_TAR:
        raise InputError(f"{path} is not the published CIFAR-10-C.tar; download it again")
    with tarfile.open(path) as archive:
        members = {Path(member.name).stem: member for member in archive if member.isfile()}

        def read(name: str) -> npt.NDArray[np.uint8]:
            file = archive.extractfile(members[name])
            if file is None:
                raise InputError(f"{path} contains no file {name}.npy")
            # NumPy cannot read an archive member directly.
            return _load(io.BytesIO(file.read()))

        labels = read("labels")
        for name in sorted(set(members) - {"labels", "README"}):
            yield from _corrupted_sets(read(name), labels, name, test_labels, "by SHA-256")


def _corrupted_sets(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    name: str,
    test_labels: Int64Array,
    checked: str,
) -> Iterator[BenchmarkSet]:
    count = len(test_labels)
    shape = (_SEVERITIES * count, 32, 32, 3)
    if images.shape != shape or images.dtype != np.uint8:
        raise InputError(
            f"{name}.npy contains {images.dtype} of shape {images.shape}; CIFAR-10-C has uint8 of "
            f"shape {shape}"
        )
    if not np.array_equal(labels, np.tile(test_labels, _SEVERITIES)):
        raise InputError("labels.npy does not repeat the CIFAR-10 test labels five times")
    for severity in range(1, _SEVERITIES + 1):
        own = images[(severity - 1) * count : severity * count]
        part = LabelledImages(own, test_labels)
        yield BenchmarkSet("CIFAR-10-C", name, severity, part, checked)


def _read_cifar_10_1(path: Path) -> BenchmarkSet:
    for name, digest in CIFAR_10_1_V6.items():
        if not (path / name).is_file() or file_digest(path / name) != digest:
            raise InputError(f"{path / name} is not the published file of CIFAR-10.1 v6")
    data, labels = (_load(path / name) for name in CIFAR_10_1_V6)
    part = LabelledImages(data, labels.astype(np.int64))
    return BenchmarkSet("CIFAR-10.1 v6", "", 0, part, "by SHA-256")


def _load(file: Path | IO[bytes]) -> npt.NDArray[np.uint8]:
    try:
        array: npt.NDArray[np.uint8] = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{file} cannot be read as a NumPy array: {error}") from error
    return array
