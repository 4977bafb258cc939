"""Training uses its own seed, and does not touch the caller's random generators."""

import random
from pathlib import Path

import numpy as np
import pytest

from thumbnet import Dataset, Recipe, resume, train
from thumbnet.models import build_model
from thumbnet.training.progress import SilentDisplay


def draw() -> list[float]:
    """The next number of every global generator that the caller may rely on."""
    tensorflow = pytest.importorskip("tensorflow")
    return [
        random.random(),
        float(np.random.random()),  # noqa: NPY002
        float(tensorflow.random.uniform(())),
    ]


def seed_all(seed: int) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    tensorflow.random.set_seed(seed)


@pytest.mark.slow
def test_training_does_not_touch_the_callers_generators(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    seed_all(1)
    expected = [draw() for _ in range(3)]
    seed_all(1)
    found = [draw()]
    recipe = tiny_recipe.override({"epochs": 1, "model.dropout": 0.1})
    run = train(recipe, small, tmp_path / "run", display=SilentDisplay())
    found.append(draw())
    resume(run, small, display=SilentDisplay())
    run.predict(np.asarray(small.test.images[:3]))
    found.append(draw())
    assert found == expected


@pytest.mark.slow
def test_the_weights_depend_on_the_seed_and_not_on_the_callers_generators(
    tiny_recipe: Recipe, small: Dataset
) -> None:
    weights = []
    for callers_seed, seed in ((1, 5), (2, 5), (1, 6)):
        seed_all(callers_seed)
        model = build_model(tiny_recipe.model, small.train.images, 10, seed)
        weights.append(model.get_weights())
    same, again, other = weights
    assert all(np.array_equal(a, b) for a, b in zip(same, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(same, other, strict=True))
