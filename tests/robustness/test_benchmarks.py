"""Reading CIFAR-10-C and CIFAR-10.1, with small stand-ins in the same format."""

import hashlib
import tarfile
from pathlib import Path

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.robustness import benchmarks
from thumbnet.robustness.benchmarks import read_benchmark
from thumbnet.robustness.measure import measure_benchmark
from thumbnet.runs.run import Run
from thumbnet.training.progress import SilentDisplay


@pytest.fixture
def corrupted(small: Dataset, tmp_path: Path) -> Path:
    """A folder like CIFAR-10-C with one corruption that changes nothing."""
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    np.save(folder / "fog.npy", np.tile(small.test.images, (5, 1, 1, 1)))
    np.save(folder / "labels.npy", np.tile(small.test.labels, 5).astype(np.uint8))
    return folder


def test_a_folder_contains_five_severities(
    corrupted: Path, small: Dataset, finished_run: Run
) -> None:
    parts = list(read_benchmark(corrupted, small.test.labels))
    assert [(part.name, part.severity) for part in parts] == [("fog", n) for n in range(1, 6)]
    for part in parts:
        np.testing.assert_array_equal(part.images.images, small.test.images)
    assert "no digest" in parts[0].checked

    found = measure_benchmark(finished_run, parts, SilentDisplay().message).benchmarks["CIFAR-10-C"]
    expected = finished_run.predictions().correct[: len(small.test)].mean()
    assert found.mean_accuracy == pytest.approx(expected, abs=1e-6)
    finished_run.robustness_path.unlink()


def test_the_archive_is_checked_by_digest(
    corrupted: Path, small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "CIFAR-10-C.tar"
    with tarfile.open(archive, "w") as file:
        file.add(corrupted, "CIFAR-10-C")
    with pytest.raises(InputError, match=r"not the published CIFAR-10-C\.tar"):
        next(read_benchmark(archive, small.test.labels))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(benchmarks, "CIFAR_10_C_TAR", digest)
    parts = list(read_benchmark(archive, small.test.labels))
    assert len(parts) == 5
    assert parts[0].checked == "by SHA-256"


def test_other_labels_and_shapes_are_refused(corrupted: Path, small: Dataset) -> None:
    with pytest.raises(InputError, match="does not repeat the CIFAR-10 test labels"):
        list(read_benchmark(corrupted, (small.test.labels + 1) % 10))
    np.save(corrupted / "fog.npy", small.test.images)
    with pytest.raises(InputError, match="CIFAR-10-C has uint8 of shape"):
        list(read_benchmark(corrupted, small.test.labels))
    (corrupted / "fog.npy").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        list(read_benchmark(corrupted, small.test.labels))


def test_cifar_10_1_is_checked_by_digest(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"is not a known benchmark"):
        next(read_benchmark(tmp_path, small.test.labels))
    np.save(tmp_path / "cifar10.1_v6_data.npy", small.test.images)
    np.save(tmp_path / "cifar10.1_v6_labels.npy", small.test.labels.astype(np.int32))
    with pytest.raises(InputError, match=r"not the published file of CIFAR-10\.1 v6"):
        next(read_benchmark(tmp_path, small.test.labels))
    digests = {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in benchmarks.CIFAR_10_1_V6
    }
    monkeypatch.setattr(benchmarks, "CIFAR_10_1_V6", digests)
    (part,) = read_benchmark(tmp_path, small.test.labels)
    assert (part.images.labels == small.test.labels).all()
