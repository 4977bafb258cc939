"""A run that starts from a backbone is exported and explained like any other."""

from pathlib import Path

import numpy as np
import pytest

from thumbnet import Recipe, export_run, open_engine, train
from thumbnet.data.dataset import Dataset
from thumbnet.engines import open_keras_engine
from thumbnet.engines.formats import format_names
from thumbnet.interpretation.explain import explain_run
from thumbnet.runs.run import Run
from thumbnet.training.progress import SilentDisplay

pytestmark = pytest.mark.slow


def ignore(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def run(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of one epoch with the head of EfficientNet-Lite0."""
    recipe = Recipe.read("finetune").override(
        {"epochs": 1, "batch_size": 32, "model.trainable": "head", "validation": 0.25}
    )
    out = tmp_path_factory.mktemp("runs") / "backbone"
    return train(recipe, small, out, display=SilentDisplay())


@pytest.mark.parametrize("name", format_names())
def test_a_backbone_is_exported(run: Run, small: Dataset, name: str) -> None:
    export_run(run, name, small, ignore)

    images = small.test.images[:20]
    expected = open_keras_engine(run).predict(images)
    np.testing.assert_allclose(open_engine(run, name).predict(images), expected, atol=1e-4)


def test_a_backbone_is_explained(run: Run, small: Dataset) -> None:
    explain_run(run, small.test, ignore)

    explained = run.explanations()
    assert explained is not None
    assert any(path.suffix == ".png" for path in Path(run.explanations_path).iterdir())
