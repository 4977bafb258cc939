from pathlib import Path

import pytest
from PIL import Image

from thumbnet import Dataset, Recipe, train
from thumbnet.training.batches import Batches
from thumbnet.training.progress import SilentDisplay
from thumbnet.training.steps import FEWEST_STEPS, planned_steps, with_enough_steps


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


@pytest.mark.slow
def test_a_recipe_by_name_is_adjusted_to_image_files(sample: Dataset, tmp_path: Path) -> None:
    for index in range(120):
        folder = tmp_path / "images" / ("even" if sample.train.labels[index] % 2 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.train.images[index]).save(folder / f"{index}.png")
    dataset = Dataset.from_directory(tmp_path / "images")

    adjusted = train("ann", dataset, tmp_path / "adjusted", display=SilentDisplay())
    asked = train("ann", dataset, tmp_path / "asked", epochs=1, display=SilentDisplay())

    assert adjusted.metrics().steps >= FEWEST_STEPS
    assert asked.metrics().steps == 1
