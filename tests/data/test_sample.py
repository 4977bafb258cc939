import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.data.sample import load_sample
from thumbnet.data.sources.cifar10 import CLASS_NAMES
from thumbnet.errors import JobError


def test_the_sample_is_balanced_and_shuffled(sample: Dataset) -> None:
    assert (sample.name, sample.source) == ("cifar10-sample", "bundled sample")
    assert sample.image_shape == (32, 32, 3)
    assert np.bincount(sample.train.labels).tolist() == [500] * 10
    assert np.bincount(sample.test.labels).tolist() == [100] * 10
    assert set(sample.train.labels[:100]) == set(range(10))


def test_the_sample_has_no_duplicates(sample: Dataset) -> None:
    images = np.concatenate([sample.train.images, sample.test.images])
    assert len({image.tobytes() for image in images}) == len(images)


def test_images_are_cut_from_the_mosaic_at_their_edges(sample: Dataset) -> None:
    """A mosaic that is cut in the wrong places would leave seams in the images."""
    images = sample.train.images[:1000].astype(int)
    for axis, others in ((1, (0, 2, 3)), (2, (0, 1, 3))):
        steps = np.abs(np.diff(images, axis=axis)).mean(axis=others)
        assert steps.max() < 1.2 * steps.mean()


def test_the_files_stay_small() -> None:
    folder = files("thumbnet.data.sample")
    size = sum(len(file.read_bytes()) for file in folder.iterdir() if file.is_file())
    assert size < 12_000_000


@pytest.mark.parametrize("damage", ["remove", "cut", "swap"])
def test_a_damaged_installation_is_reported(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(str(files("thumbnet.data.sample")))
    for name in ("train.webp", "test.webp", "labels.json"):
        shutil.copy(source / name, tmp_path)
    test = tmp_path / "test.webp"
    if damage == "remove":
        test.unlink()
    elif damage == "cut":
        test.write_bytes(test.read_bytes()[:5000])
    else:
        text = (tmp_path / "labels.json").read_text(encoding="utf-8")
        (tmp_path / "labels.json").write_text(text.replace("1,2", "2,1", 1), encoding="utf-8")
    monkeypatch.setattr("thumbnet.data.sample.files", lambda package: tmp_path)
    with pytest.raises(JobError, match="the bundled sample is damaged"):
        load_sample(CLASS_NAMES)
