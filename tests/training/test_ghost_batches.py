import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.recipe import Recipe
from thumbnet.runtime import prepare_keras
from thumbnet.training.prepare import compiled_model


@pytest.fixture
def whole() -> Recipe:
    return Recipe.check(
        {
            "name": "whole",
            "batch_size": 60,
            "model": {"architecture": "cnn", "widths": [4, 8]},
            "optimizer": {"name": "sgd", "learning_rate": 0.1},
        },
        "test",
    )


def _weights_after_a_step(recipe: Recipe, small: Dataset, twice: bool) -> list[Float32Array]:
    images = np.asarray(small.train.images[:30])
    labels = np.eye(10, dtype=np.float32)[small.train.labels[:30]]
    if twice:
        images, labels = np.concatenate([images] * 2), np.concatenate([labels] * 2)
    model = compiled_model(recipe, small.train, 10)
    model.train_on_batch(images.astype(np.float32), labels)
    return [np.asarray(weight) for weight in model.trainable_weights]


@pytest.mark.slow
def test_identical_ghost_batches_train_like_the_whole_batch(whole: Recipe, small: Dataset) -> None:
    expected = _weights_after_a_step(whole, small, twice=True)
    found = _weights_after_a_step(whole.override({"ghost_batches": 2}), small, twice=True)
    assert len(found) == len(expected) > 5
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


@pytest.mark.slow
def test_each_ghost_batch_is_normalised_separately(whole: Recipe, small: Dataset) -> None:
    expected = _weights_after_a_step(whole, small, twice=False)
    found = _weights_after_a_step(whole.override({"ghost_batches": 2}), small, twice=False)
    assert max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True)) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("ghost_batches", [1, 2])
def test_float16_trains_with_loss_scaling(
    whole: Recipe, small: Dataset, ghost_batches: int
) -> None:
    keras = prepare_keras()
    recipe = whole.override({"precision": "mixed_float16", "ghost_batches": ghost_batches})
    model = compiled_model(recipe, small.train, 10)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    labels = np.eye(10, dtype=np.float32)[small.train.labels[:60]]
    images = np.asarray(small.train.images[:60])
    losses = [model.train_on_batch(images, labels, return_dict=True)["loss"] for _ in range(5)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_batch_that_does_not_divide_evenly_can_be_used(whole: Recipe, small: Dataset) -> None:
    odd = _weights_after_a_step(whole.override({"ghost_batches": 7}), small, twice=True)
    assert all(np.isfinite(weight).all() for weight in odd)


def test_more_ghost_batches_than_images_are_refused(whole: Recipe) -> None:
    with pytest.raises(InputError, match="a batch of 60 cannot be split into 61"):
        whole.override({"ghost_batches": 61})
