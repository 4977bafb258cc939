"""Custom models, augmentations and optimizers."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import thumbnet
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobError
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras
from thumbnet.training.progress import SilentDisplay

keras = prepare_keras()
layers = keras.layers


def sequential(*more: Any, classes: int = 10) -> Any:
    """A typical custom model: it takes float pixels from 0 to 255 and returns probabilities."""
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            *more,
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation="softmax"),
        ],
        name="mine",
    )


def build(image_shape: tuple[int, int, int], classes: int) -> Any:
    pixels = keras.Input(image_shape)
    x = layers.Flatten()(layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, layers.Dense(classes)(x))


@pytest.fixture(scope="module")
def own_run(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a Keras model with a custom augmentation and optimizer."""
    return thumbnet.train(
        sequential(),
        small,
        tmp_path_factory.mktemp("own") / "run",
        epochs=2,
        seed=3,
        augment=[layers.RandomFlip("horizontal"), layers.RandomZoom(0.1)],
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 4)),
        display=SilentDisplay(),
    )


@pytest.mark.slow
def test_a_keras_model_becomes_a_run_like_any_other(own_run: Run, small: Dataset) -> None:
    recipe = own_run.recipe()
    assert (recipe.name, recipe.epochs, recipe.seed) == ("mine", 2, 3)
    assert recipe.model.architecture == "custom"
    assert own_run.environment().own_parts == ["model", "augment", "optimizer"]
    assert own_run.metrics().flop_per_image > 0
    # A cosine schedule over four steps, one per epoch.
    expected = [0.01 * (1 + np.cos(np.pi * step / 4)) / 2 for step in (1, 2)]
    assert [row.learning_rate for row in own_run.history()] == pytest.approx(expected)
    engine = thumbnet.open_engine(own_run)
    images = np.asarray(small.test.images)
    probabilities = engine.predict(images)
    assert engine.image_shape == (32, 32, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    uncalibrated = own_run.predictions().probabilities
    np.testing.assert_array_equal(probabilities.argmax(axis=1), uncalibrated.argmax(axis=1))


@pytest.mark.slow
def test_such_a_run_is_reported_and_exported(own_run: Run, small: Dataset, tmp_path: Path) -> None:
    page = thumbnet.build_report([own_run], tmp_path / "report.html", small)
    assert "mine" in page.read_text(encoding="utf-8")
    pytest.importorskip("onnxruntime")
    thumbnet.export_run(own_run, "onnx", small, lambda message: None)
    assert own_run.exports()["onnx"].agreement == 1


def test_the_given_model_is_not_changed(small: Dataset, tmp_path: Path) -> None:
    model = sequential()
    before = [weights.copy() for weights in model.get_weights()]
    run = thumbnet.train(model, small, tmp_path / "run", epochs=1, display=SilentDisplay())
    for weights, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weights, kept)
    # Training started from its weights.
    trained = thumbnet.engines.KerasEngine(run.model_path).model.get_weights()
    moved = np.abs(trained[0] - before[0]).max()
    assert 0 < moved < 0.05


@pytest.mark.slow
def test_a_function_builds_the_model_for_the_data(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs, drawn = [], []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        runs.append(thumbnet.train(build, small, epochs=1, display=SilentDisplay()))
        drawn.append((random.random(), np.random.rand()))  # noqa: NPY002
    # The same weights in both, and the caller's generators were not reseeded.
    assert drawn[0][0] != drawn[1][0]
    assert drawn[0][1] != drawn[1][1]
    assert [run.path for run in runs] == [Path("runs/build"), Path("runs/build-2")]
    assert runs[0].environment().own_parts == ["model"]
    one, other = (run.predictions().probabilities for run in runs)
    np.testing.assert_allclose(one, other, atol=1e-5)


def test_an_augmentation_function_gets_a_generator_for_each_batch(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    drawn: list[float] = []

    def augment(images: Any, labels: Any, generator: np.random.Generator) -> tuple[Any, Any]:
        assert images.dtype == np.uint8
        assert labels.shape == (len(images), 10)
        drawn.append(generator.random())
        return images / 2, labels

    run = thumbnet.train(
        tiny_recipe, small, tmp_path / "run", augment=augment, display=SilentDisplay()
    )
    assert len(set(drawn)) == len(drawn) == run.metrics().steps
    assert run.environment().own_parts == ["augment"]


@pytest.mark.slow
def test_a_run_with_custom_parts_is_resumed_with_them(small: Dataset, tmp_path: Path) -> None:
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)

    whole = thumbnet.train(
        build, small, tmp_path / "whole", epochs=3, optimizer=optimizer, display=SilentDisplay()
    )
    with pytest.raises(JobError, match="power failure"):
        thumbnet.train(
            build, small, tmp_path / "run", epochs=3, optimizer=optimizer,
            callbacks=[FailInEpoch(1)], display=SilentDisplay(),
        )  # fmt: skip
    run = Run.open(tmp_path / "run")
    with pytest.raises(InputError, match=r"started with a custom model and optimizer"):
        thumbnet.resume(run, small, display=SilentDisplay())
    thumbnet.resume(run, small, model=build, optimizer=optimizer, display=SilentDisplay())
    np.testing.assert_allclose(
        run.predictions().probabilities, whole.predictions().probabilities, atol=1e-5
    )


class FailInEpoch(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
    """Ends the training in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self._epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self._epoch:
            raise JobError("power failure")


class Subclassed(keras.Model):  # type: ignore[misc, name-defined]
    def call(self, inputs: Any) -> Any:
        return inputs


UNUSABLE: dict[str, tuple[Any, str]] = {
    "a number": (3, "give a recipe, the name or path of one, a keras.Model, or a function"),
    "a subclass": (Subclassed(name="mine"), "mine is a subclass of keras.Model"),
    "other classes": (sequential(classes=7), r"mine has outputs of shape \(7,\).*10 classes"),
    "another size": (
        keras.Sequential([keras.Input((28, 28, 3)), layers.Flatten(), layers.Dense(10)], name="m"),
        r"m takes inputs of shape \(28, 28, 3\), and the images have the shape \(32, 32, 3\)",
    ),
    "no model": (lambda shape, classes: None, "the function that builds the model returned NoneT"),
    "a custom layer": (
        sequential(layers.Lambda(lambda x: x)),
        "the model mine cannot be trained, because its run could not be saved and opened",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unsuitable_model_is_refused_before_training(
    small: Dataset, tmp_path: Path, name: str
) -> None:
    model, sentence = UNUSABLE[name]
    with pytest.raises(InputError, match=sentence):
        thumbnet.train(model, small, tmp_path / "run", display=SilentDisplay())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        ({"augment": 3}, "augment must be a Keras preprocessing layer"),
        ({"augment": [3]}, "augment contains int, which is not a Keras layer"),
        ({"optimizer": "adam"}, "optimizer must be a Keras optimizer"),
    ],
)
def test_custom_parts_of_the_wrong_type_are_refused(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path, part: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        thumbnet.train(tiny_recipe, small, tmp_path / "run", display=SilentDisplay(), **part)
