import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset, Images
from thumbnet.engines import KerasEngine, open_engine
from thumbnet.errors import InputError, JobError
from thumbnet.evaluation.metrics import evaluate
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras
from thumbnet.training import resume, train
from thumbnet.training.progress import SilentDisplay

NAMES_THAT_SCRIPTS_RELY_ON = {
    "accuracy",
    "macro_f1",
    "log_loss",
    "test_images",
    "train_images",
    "train_seconds",
    "train_flops",
    "sgemm_gflops",
    "sgemm_tflop",
    "parameters",
    "recipe",
    "data_source",
    "seed",
}


@pytest.mark.slow
def test_training_on_a_subset_keeps_all_validation_images(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override({"subset": 0.5, "epochs": 1})
    metrics = train(recipe, small, tmp_path / "run", display=SilentDisplay()).metrics()
    assert metrics.train_images == 150
    assert metrics.validation_images == 100
    smallest = train(
        recipe.override({"subset": 0.001}), small, tmp_path / "b", display=SilentDisplay()
    )
    assert smallest.metrics().train_images == 10  # one of each class


class Interrupting(SilentDisplay):
    """Sends a signal, by default that of Ctrl-C, at one step."""

    def __init__(self, at_step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.at_step, self.number = at_step, number

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        if step == self.at_step:
            os.kill(os.getpid(), self.number)


class Recording(SilentDisplay):
    """Records the learning rate of every step."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        self.rates.append(rate)


def test_a_run_directory_is_complete(
    finished_run: Run, tiny_recipe: Recipe, sample: Dataset
) -> None:
    names = {path.name for path in finished_run.path.iterdir()}
    assert names >= {
        "recipe.toml",
        "environment.json",
        "history.csv",
        "checkpoints",
        "model.keras",
        "layers.csv",
        "predictions.npz",
        "validation_predictions.npz",
        "metrics.json",
        "classes.csv",
        "confusion.csv",
        "figures",
    }
    assert finished_run.recipe() == tiny_recipe
    environment = finished_run.environment()
    assert environment.data.digests == sample.digests
    assert environment.versions["keras"]
    assert environment.onednn.startswith(("on", "as TensorFlow"))
    assert [row.epoch for row in finished_run.history()] == [1, 2]


def test_the_metrics_agree_with_the_saved_predictions(finished_run: Run, sample: Dataset) -> None:
    metrics = finished_run.metrics()
    assert metrics.model_dump().keys() >= NAMES_THAT_SCRIPTS_RELY_ON
    evaluation = evaluate(finished_run.predictions())
    assert metrics.accuracy == evaluation.accuracy > 0.15
    assert metrics.confusion == evaluation.confusion
    assert metrics.test_images == len(sample.test)
    assert metrics.train_images + metrics.validation_images == len(sample.train)
    assert metrics.data_source == sample.source
    last = finished_run.history()[-1]
    assert metrics.validation_accuracy == pytest.approx(last.validation_accuracy)


def test_the_model_file_reproduces_the_saved_predictions(
    finished_run: Run, sample: Dataset
) -> None:
    probabilities = KerasEngine(finished_run.model_path).predict(sample.test.images)
    saved = finished_run.predictions()
    np.testing.assert_allclose(probabilities, saved.probabilities, atol=1e-6)
    np.testing.assert_array_equal(saved.labels, sample.test.labels)


def test_validation_and_training_images_are_disjoint(finished_run: Run, sample: Dataset) -> None:
    from thumbnet.data.split import stratified_split
    from thumbnet.evaluation.predictions import Predictions

    held_out = Predictions.load(finished_run.validation_predictions_path)
    training, expected = stratified_split(sample.train.labels, 0.25, seed=0)
    np.testing.assert_array_equal(held_out.ids, expected)
    assert not set(held_out.ids) & set(training)
    np.testing.assert_array_equal(held_out.labels, sample.train.labels[held_out.ids])


@pytest.fixture(scope="module")
def whole(tiny_recipe: Recipe, small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run of two epochs of five steps."""
    return train(
        tiny_recipe, small, tmp_path_factory.mktemp("whole") / "run", display=SilentDisplay()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at_step", "number"), [(2, signal.SIGINT), (5, signal.SIGTERM), (8, signal.SIGINT)]
)
def test_a_resumed_run_ends_with_the_same_weights(
    tiny_recipe: Recipe,
    small: Dataset,
    whole: Run,
    tmp_path: Path,
    at_step: int,
    number: signal.Signals,
) -> None:
    with pytest.raises(JobError, match=rf"interrupted after {at_step} steps; .*--resume .*halves"):
        train(tiny_recipe, small, tmp_path / "halves", display=Interrupting(at_step, number))
    halves = Run.open(tmp_path / "halves")
    assert not halves.finished
    resume(halves, small, display=SilentDisplay())
    np.testing.assert_allclose(
        halves.predictions().probabilities, whole.predictions().probabilities, atol=1e-5
    )
    for row, expected in zip(halves.history(), whole.history(), strict=True):
        timed = {"seconds": 0, "images_per_second": 0}
        assert row.values() | timed == pytest.approx(expected.values() | timed, rel=1e-4)


@pytest.mark.slow
def test_the_previous_checkpoint_replaces_a_damaged_one(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(JobError):
        train(tiny_recipe, small, tmp_path / "run", display=Interrupting(8))
    run = Run.open(tmp_path / "run")
    *_, before, last = sorted(run.checkpoints_path.glob("step-*.npz"))
    last.write_bytes(last.read_bytes()[:1000])
    assert resume(run, small, display=SilentDisplay()).finished
    assert before.name == "step-000000005.npz"


def test_if_all_checkpoints_are_damaged_resuming_names_them(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(JobError):
        train(tiny_recipe, small, tmp_path / "run", display=Interrupting(2))
    run = Run.open(tmp_path / "run")
    for path in run.checkpoints_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"step-000000002.npz is damaged.*; restore an intact one"):
        resume(run, small, display=SilentDisplay())


def test_a_run_whose_checkpoints_are_gone_is_not_silently_started_over(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override({"epochs": 3})
    with pytest.raises(JobError):
        train(recipe, small, tmp_path / "run", display=Interrupting(12))
    run = Run.open(tmp_path / "run")
    shutil.rmtree(run.checkpoints_path)
    with pytest.raises(InputError, match=r"no checkpoint, although 2 epochs were trained; restore"):
        resume(run, small, display=SilentDisplay())


def test_a_run_is_not_resumed_with_different_images(
    tiny_recipe: Recipe, small: Dataset, sample: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(JobError):
        train(tiny_recipe, small, tmp_path / "run", display=Interrupting(2))
    with pytest.raises(
        InputError, match="started with different images from those of: bundled sample"
    ):
        resume(tmp_path / "run", sample, display=SilentDisplay())


def test_resuming_a_finished_run_changes_nothing(finished_run: Run, sample: Dataset) -> None:
    before = finished_run.metrics_path.stat().st_mtime_ns
    assert resume(finished_run, sample, display=SilentDisplay()) == finished_run
    assert finished_run.metrics_path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "finished all 2 epochs"),
        ({"stopping.target_accuracy": 0.05}, "reached the target validation accuracy of 5.0%"),
        ({"stopping.budget_seconds": 1e-6}, "reached the time budget of 1e-06 s in epoch 1"),
        (
            {"stopping.patience": 1, "epochs": 30, "optimizer.learning_rate": 1e-9},
            "stopped early in epoch",
        ),
    ],
)
def test_a_run_records_why_it_ended(
    tiny_recipe: Recipe,
    small: Dataset,
    tmp_path: Path,
    settings: dict[str, float],
    reason: str,
) -> None:
    run = train(tiny_recipe.override(settings), small, tmp_path / "run", display=SilentDisplay())
    assert run.metrics().stop_reason.startswith(reason)


@pytest.mark.slow
def test_early_stopping_keeps_the_best_epoch(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override({"stopping.patience": 2, "epochs": 30})
    run = train(recipe, small, tmp_path / "run", display=SilentDisplay())
    from thumbnet.evaluation.predictions import Predictions

    kept = evaluate(Predictions.load(run.validation_predictions_path)).accuracy
    of_epochs = run.history().series("validation_accuracy")[1]
    assert kept == pytest.approx(max(of_epochs))
    assert kept > of_epochs[-1]
    assert run.metrics().validation_accuracy == kept


def test_the_learning_rate_follows_the_schedule(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override(
        {"optimizer.learning_rate": 0.01, "schedule.decay": "linear", "schedule.warmup": 0.5}
    )
    display = Recording()
    train(recipe, small, tmp_path / "run", display=display)
    assert display.rates == pytest.approx(
        [0.002, 0.004, 0.006, 0.008, 0.01, 0.01, 0.008, 0.006, 0.004, 0.002]
    )


def test_a_run_without_a_validation_split_has_no_validation_metrics(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override({"validation": 0, "epochs": 1})
    run = train(recipe, small, tmp_path / "run", display=SilentDisplay())
    assert run.metrics().validation_accuracy is None
    assert run.metrics().train_images == len(small.train)
    assert not run.validation_predictions_path.exists()
    assert run.history()[0].validation_accuracy is None


def test_a_directory_in_use_is_not_touched(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is not empty"):
        train(tiny_recipe, small, tmp_path, display=SilentDisplay())
    with pytest.raises(InputError, match=r"mine.txt is a file"):
        train(tiny_recipe, small, tmp_path / "mine.txt", display=SilentDisplay())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_recipe_that_cannot_be_trained_leaves_no_directory(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override({"model": {"architecture": "cnn", "widths": [4] * 6}})
    with pytest.raises(InputError, match="too small for 6 blocks"):
        train(recipe, small, tmp_path / "run", display=SilentDisplay())
    labels = small.train.labels
    single = np.concatenate([np.flatnonzero(labels == 0)[:1], np.flatnonzero(labels != 0)])
    with pytest.raises(InputError, match=small.class_names[0]):
        train(
            tiny_recipe,
            replace(small, train=small.train.take(single)),
            tmp_path / "run",
            display=SilentDisplay(),
        )
    assert not list(tmp_path.iterdir())


def test_a_layer_that_a_run_may_not_contain_is_refused_before_training(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keras = prepare_keras()

    def build(parameters: object, images: Images, class_count: int) -> object:
        pixels = keras.Input(images.shape[1:], dtype="uint8")
        x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
        x = keras.layers.Discretization([0.5])(x)
        return keras.Model(pixels, keras.layers.Dense(class_count)(x))

    monkeypatch.setattr("thumbnet.models.architectures.ann.build", build)
    with pytest.raises(InputError, match=r"cannot be trained.*keras.layers.Discretization"):
        train(tiny_recipe, small, tmp_path / "run", display=SilentDisplay())
    assert not list(tmp_path.iterdir())


def test_a_replaced_model_file_is_not_opened(finished_run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(finished_run.path, tmp_path / "copy")
    with open(copy / "model.keras", "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match=r"model.keras is not the file written by this run"):
        open_engine(Run.open(copy))


def test_an_unfinished_run_has_no_engine(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(JobError):
        train(tiny_recipe, small, tmp_path / "run", display=Interrupting(2))
    with pytest.raises(InputError, match=r"metrics.json is missing: .*thumbnet train --resume"):
        open_engine(Run.open(tmp_path / "run"))


def test_images_of_a_different_shape_are_refused(finished_run: Run) -> None:
    with pytest.raises(InputError, match=r"takes uint8 images of shape \(32, 32, 3\); got uint8"):
        open_engine(finished_run).predict(np.zeros((1, 28, 28, 3), np.uint8))


def test_predicting_no_images_gives_no_rows(finished_run: Run) -> None:
    assert open_engine(finished_run).predict(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 10)


@pytest.mark.slow
def test_a_killed_run_can_be_resumed(tmp_path: Path) -> None:
    """`kill -9` between two checkpoints, through the command itself."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "thumbnet", "train"]
    start = [*command, "ann", "--source", "sample", "--out", str(out), "--set", "model.widths=[8]"]
    process = subprocess.Popen([*start, "--epochs", "100000"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/step-*.npz")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    state = json.loads(str(np.load(max(out.glob("checkpoints/step-*.npz")))["state"]))
    assert state["step"] > 0
    recipe = Recipe.read(out / "recipe.toml").override({"stopping.budget_seconds": 1e-6})
    (out / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    resumed = subprocess.run(
        [*command, "--resume", str(out), "--source", "sample"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert Run.open(out).metrics().steps > state["step"]


@pytest.fixture
def growing() -> Recipe:
    """A recipe with progressive resizing and six views of test-time augmentation."""
    return Recipe.check(
        {
            "name": "growing",
            "epochs": 2,
            "batch_size": 100,
            "ghost_batches": 2,
            "validation": 0.0,
            "tta_views": 6,
            "hard_example_fraction": 0.75,
            "model": {"architecture": "cnn", "widths": [4, 8]},
            "augmentation": {
                "flip": "alternating",
                "random_crop_padding": 2,
                "progressive_resizing": [0.5, 1.0],
            },
        },
        "test",
    )


@pytest.mark.slow
def test_smaller_images_cost_less(growing: Recipe, small: Dataset, tmp_path: Path) -> None:
    growing = growing.override({"hard_example_fraction": 1.0})
    whole = growing.override({"augmentation.progressive_resizing": [1.0], "tta_views": 1})
    metrics = {
        recipe.augmentation.progressive_resizing: train(
            recipe,
            small,
            tmp_path / f"{len(recipe.augmentation.progressive_resizing)}",
            display=SilentDisplay(),
        ).metrics()
        for recipe in (growing, whole)
    }
    shrunk, full = metrics[(0.5, 1.0)], metrics[(1.0,)]
    # Half of the images have half the side, at a little over a quarter of the cost.
    assert 0.6 < shrunk.train_flops / full.train_flops < 0.63
    assert shrunk.train_images == 400
    assert shrunk.sgemm_tflop == shrunk.train_seconds * shrunk.sgemm_gflops / 1000
    assert shrunk.accuracy_tta is not None
    assert full.accuracy_tta is None


@pytest.mark.slow
def test_a_resumed_run_sees_the_same_sizes_and_images(
    growing: Recipe, small: Dataset, tmp_path: Path
) -> None:
    growing = growing.override({"deterministic": True, "epochs": 4})
    alone = train(growing, small, tmp_path / "alone", display=SilentDisplay())
    with pytest.raises(
        JobError, match="interrupted after 8 steps"
    ):  # epochs of 4, 3, 3 and 3 steps
        train(growing, small, tmp_path / "stopped", display=Interrupting(8))
    resumed = resume(tmp_path / "stopped", small, display=SilentDisplay())
    np.testing.assert_array_equal(
        alone.predictions().probabilities, resumed.predictions().probabilities
    )


@pytest.mark.parametrize(("architecture", "scale"), [("ann", 0.75), ("cnn", 0.125)])
def test_sizes_that_the_model_cannot_take_are_refused(
    growing: Recipe, small: Dataset, tmp_path: Path, architecture: str, scale: float
) -> None:
    recipe = growing.override(
        {
            "model": {"architecture": architecture, "widths": [8, 8]},
            "augmentation.progressive_resizing": [scale, 1.0],
        }
    )
    with pytest.raises(InputError, match=rf"pixels, which this {architecture} cannot take"):
        train(recipe, small, tmp_path / "run", display=SilentDisplay())
    assert not (tmp_path / "run").exists()
