import json
from pathlib import Path

import numpy as np
import pytest

from thumbnet import train
from thumbnet.curve import describe_learning_curve, measure_learning_curve
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Predictions
from thumbnet.recipe import Recipe
from thumbnet.training.progress import SilentDisplay


def predictions(right: np.ndarray) -> Predictions:
    """Predictions of two classes, of which the images in `right` are correct."""
    labels = np.arange(len(right)) % 2
    answers = np.where(right, labels, 1 - labels)
    probabilities = np.eye(2, dtype=np.float32)[answers] * 0.8 + 0.1
    return Predictions(probabilities, labels, np.arange(len(right)), ("cat", "dog"), "validation")


def test_an_error_that_halves_with_twice_the_images_goes_on_to_halve() -> None:
    judged = np.arange(800)
    answers = [
        (count, predictions(judged >= wrong)) for count, wrong in ((25, 400), (50, 200), (100, 100))
    ]

    curve = describe_learning_curve(answers)

    assert [point.accuracy for point in curve.points] == [0.5, 0.75, 0.875]
    assert curve.more.per_class == 50  # with two classes, twice the images
    assert curve.more.gain == pytest.approx(0.0625)
    assert curve.more.low < curve.more.gain < curve.more.high


def test_the_class_with_the_lowest_recall_needs_images_most() -> None:
    labels = np.arange(100) % 2
    wrong_dogs = (labels == 1) & (np.arange(100) < 40)
    answers = [(count, predictions(~wrong_dogs)) for count in (10, 20)]

    curve = describe_learning_curve(answers)

    assert curve.neediest == "dog"
    assert curve.points[-1].recall == [1.0, 0.6]
    assert curve.more.gain == 0  # more images have changed nothing so far


@pytest.mark.slow
def test_a_curve_is_measured_on_the_validation_images_and_kept(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    run = train(tiny_recipe, small, tmp_path / "run", display=SilentDisplay())

    curve = measure_learning_curve(run, small, SilentDisplay(), fractions=[0.5])

    metrics = run.metrics()
    assert curve.validation_images == metrics.validation_images
    assert [point.train_images for point in curve.points] == [150, metrics.train_images]
    assert curve.points[-1].accuracy == metrics.validation_accuracy
    assert json.loads((run.path / "learning_curve.json").read_text()) == curve.model_dump()
    assert (run.figures_path / "accuracy_by_images.svg").is_file()
    trained = run.path / "learning_curve" / "0.5" / "history.csv"
    before = trained.stat().st_mtime_ns
    assert measure_learning_curve(run, small, SilentDisplay(), fractions=[0.5]) == curve
    assert trained.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_without_validation_images_has_no_curve(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override({"validation": 0.0, "epochs": 1})
    run = train(recipe, small, tmp_path / "run", display=SilentDisplay())

    with pytest.raises(InputError, match="no validation images"):
        measure_learning_curve(run, small, SilentDisplay())
