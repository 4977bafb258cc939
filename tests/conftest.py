"""Fixtures that several test files share: real images, and one small trained run."""

from pathlib import Path

import pytest
from thumbnet.data.sources import load_cifar10

from thumbnet.data.dataset import Dataset
from thumbnet.progress import SilentDisplay
from thumbnet.recipe import Recipe
from thumbnet.run import Run


@pytest.fixture(scope="session")
def sample() -> Dataset:
    """The bundled sample of real CIFAR-10."""
    return load_cifar10(source="sample")


@pytest.fixture(scope="session")
def small(sample: Dataset) -> Dataset:
    """A few hundred of its images, every class among them."""
    return Dataset(
        name=sample.name,
        class_names=sample.class_names,
        train=sample.train.take(range(400)),
        test=sample.test.take(range(200)),
        source=sample.source,
    )


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """A recipe that trains in a second."""
    values = {
        "name": "tiny",
        "epochs": 2,
        "batch_size": 60,
        "validation": 0.25,
        "model": {"architecture": "ann", "widths": [16]},
        "augmentation": {"flip": "alternating", "shift": 1},
    }
    return Recipe.check(values, "test")


@pytest.fixture(scope="session")
def finished_run(
    tiny_recipe: Recipe, sample: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A finished run on the whole sample; tests that change it take a copy."""
    from thumbnet.training import train

    return train(tiny_recipe, sample, tmp_path_factory.mktemp("runs") / "tiny", SilentDisplay())


@pytest.fixture(autouse=True)
def _cache_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """No test reads or fills the user's cache."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("THUMBNET_CACHE", str(cache))
    return cache
