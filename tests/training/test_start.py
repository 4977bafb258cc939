from pathlib import Path

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.engines import open_keras_engine
from thumbnet.errors import InputError
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.training import resume, train
from thumbnet.training.progress import SilentDisplay


@pytest.fixture(scope="module")
def two_classes(sample: Dataset) -> Dataset:
    """Different classes from those of the run to start from: animals and vehicles."""
    animals = [2, 3, 4, 5, 6, 7]

    def part(images: LabelledImages, count: int) -> LabelledImages:
        labels = np.isin(images.labels[:count], animals).astype(np.int64)
        return LabelledImages(images.images[:count], labels)

    return Dataset(
        "two", ("vehicle", "animal"), part(sample.train, 400), part(sample.test, 200), ""
    )


@pytest.fixture(scope="module")
def started(
    tiny_recipe: Recipe,
    two_classes: Dataset,
    finished_run: Run,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    recipe = tiny_recipe.override({"start.weights": str(finished_run.path)})
    return train(
        recipe, two_classes, tmp_path_factory.mktemp("started") / "run", display=SilentDisplay()
    )


@pytest.mark.slow
def test_a_head_is_fitted_before_the_first_step(started: Run) -> None:
    first, *others = started.history()

    assert (first.epoch, first.step) == (0, 0)
    assert first.validation_accuracy is not None
    assert first.validation_accuracy > 0.65  # a network with random weights has 50%
    assert [row.epoch for row in others] == [1, 2]
    assert started.metrics().epochs_run == 2


def test_pixels_are_normalised_as_the_weights_expect(started: Run, finished_run: Run) -> None:
    ours, theirs = (
        open_keras_engine(run).model.get_layer("standardise") for run in (started, finished_run)
    )

    assert np.array_equal(ours.mean, theirs.mean)
    assert np.array_equal(ours.variance, theirs.variance)


@pytest.mark.slow
def test_a_run_that_started_from_another_is_resumed(
    started: Run, two_classes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from thumbnet.errors import JobError
    from thumbnet.training import loop

    def killed(*_: object) -> None:
        raise JobError("power failure")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_epoch", killed)
        with pytest.raises(JobError, match="power"):
            train(started.recipe(), two_classes, tmp_path / "run", display=SilentDisplay())
    resumed = resume(tmp_path / "run", two_classes, display=SilentDisplay())

    assert np.array_equal(resumed.predictions().probabilities, started.predictions().probabilities)


def test_weights_of_a_different_network_are_refused(
    tiny_recipe: Recipe, two_classes: Dataset, finished_run: Run, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override(
        {"start.weights": str(finished_run.path), "model.widths": [24], "epochs": 1}
    )
    with pytest.raises(InputError, match=r"the layer dense_1 of \S+ has a different shape"):
        train(recipe, two_classes, tmp_path / "run", display=SilentDisplay())
    imagenet = tiny_recipe.override({"start.weights": "imagenet"})
    with pytest.raises(InputError, match=r'needs model\.architecture = "backbone", not ann'):
        train(imagenet, two_classes, tmp_path / "other", display=SilentDisplay())
