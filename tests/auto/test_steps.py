import pytest

from thumbnet.auto.steps import FEWEST_STEPS, planned_steps, with_enough_steps
from thumbnet.data.dataset import Dataset
from thumbnet.recipe import Recipe
from thumbnet.training.batches import Batches


@pytest.mark.parametrize("name", ["ann", "cnn", "quick", "finetune"])
def test_a_small_data_set_gets_enough_steps(name: str, small: Dataset) -> None:
    recipe = with_enough_steps(Recipe.read(name), small)

    training = small.train.take(range(360))  # without the tenth that is held out
    batches = Batches(training, recipe.batch_size, recipe.augmentation, 0, epochs=recipe.epochs)
    assert FEWEST_STEPS <= batches.total_steps < FEWEST_STEPS * 1.5
    assert planned_steps(recipe, small) == batches.total_steps


def test_a_recipe_that_takes_enough_steps_keeps_its_values(small: Dataset) -> None:
    long = Recipe.read("cnn").override({"epochs": 400})

    assert with_enough_steps(long, small) == long
