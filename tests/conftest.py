"""Fixtures for several test files: real images, a trained run, runs with synthetic predictions."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from thumbnet.data.dataset import Dataset, Int64Array
from thumbnet.data.sources.locate import load_cifar10
from thumbnet.evaluation.calibration import describe_calibration
from thumbnet.evaluation.metrics import evaluate
from thumbnet.evaluation.predictions import Predictions
from thumbnet.machine import describe_host
from thumbnet.recipe import Recipe
from thumbnet.runs.records import DataRecord, Environment, Metrics
from thumbnet.runs.run import Run
from thumbnet.training.progress import SilentDisplay

MakeRun = Callable[..., Run]

# A shell starts background jobs with SIGINT ignored; the processes that tests interrupt would
# inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# It would hide errors of the standard streams that users meet in the commands that tests start.
os.environ.pop("PYTHONUNBUFFERED", None)

# No test depends on how fast the machine is.
hypothesis.settings.register_profile("thumbnet", deadline=None)
hypothesis.settings.load_profile("thumbnet")


@pytest.fixture(autouse=True)
def short_endings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """End training without what takes longer than it does: figures, an export, and analyses.

    Tests marked `whole_run` get all of it, as do fixtures of a wider scope and subprocesses.
    """
    if request.node.get_closest_marker("whole_run") is None:
        monkeypatch.setattr("thumbnet.training.results.write_figures", lambda *_: None)
        monkeypatch.setattr("thumbnet.cli.finish.export_for_prediction", lambda *_: None)
        monkeypatch.setattr("thumbnet.cli.finish.analyze_for_report", lambda *_: None)


@pytest.fixture(scope="session")
def sample() -> Dataset:
    """The bundled sample of real CIFAR-10."""
    return load_cifar10(source="sample")


@pytest.fixture(scope="session")
def small(sample: Dataset) -> Dataset:
    """A few hundred of its images, from every class."""
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
        "augmentation": {"flip": "alternating", "random_crop_padding": 1},
    }
    return Recipe.check(values, "test")


@pytest.fixture(scope="session")
def finished_run(
    tiny_recipe: Recipe, sample: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """A finished run on the whole sample; tests that change it make a copy."""
    from thumbnet.training import train

    return train(
        tiny_recipe, sample, tmp_path_factory.mktemp("runs") / "tiny", display=SilentDisplay()
    )


@pytest.fixture(autouse=True)
def _separate_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Tests do not use the user's cache."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("THUMBNET_CACHE", str(cache))
    return cache


@pytest.fixture(scope="session", autouse=True)
def _without_machine_measurement() -> Iterator[None]:
    """Skip the measurement of the machine, which takes seconds at the start of each training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thumbnet.training.sgemm_gflops", lambda: 100.0)
        yield


@pytest.fixture(scope="session")
def make_run(
    tmp_path_factory: pytest.TempPathFactory, small: Dataset, tiny_recipe: Recipe
) -> MakeRun:
    """Write a run on the test images of `small`; `skill` determines its accuracy."""

    def make(name: str, skill: float = 2.0, class_names: tuple[str, ...] | None = None) -> Run:
        names = class_names or small.class_names
        labels = small.test.labels if class_names is None else _labels(len(small.test), len(names))
        generator = np.random.default_rng(len(name))
        logits = generator.normal(size=(len(labels), len(names)))
        logits[np.arange(len(labels)), labels] += skill
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        predictions = Predictions(
            probabilities.astype(np.float32), labels, np.arange(len(labels)), names
        )
        run = Run(tmp_path_factory.mktemp("runs") / name)
        data = DataRecord(
            name=small.name,
            source=small.source,
            path=None,
            digests=small.digests,
            class_names=list(names),
        )
        host = dict(describe_host())
        run.begin(tiny_recipe, Environment(**host, seed=0, processes=1, data=data))
        predictions.save(run.predictions_path)
        run.write_history(
            [
                {"epoch": epoch, "loss": 2 / epoch, "accuracy": 0.3 * epoch, "validation_loss": 2.1}
                for epoch in (1, 2)
            ]
        )
        run.write_metrics(
            Metrics(
                **dict(evaluate(predictions)),
                run=name,
                recipe=tiny_recipe.name,
                architecture="ann",
                seed=0,
                data_name=small.name,
                data_source=small.source,
                train_images=300,
                validation_images=100,
                skipped_images=0,
                validation_accuracy=None,
                train_seconds=192.0,
                epochs_run=2,
                steps=10,
                stop_reason="finished all 2 epochs",
                train_flops=10**9,
                sgemm_gflops=100.0,
                sgemm_tflop=19.2,
                parameters=98_765,
                flop_per_image=197_530,
                memory_bytes=500_000,
                model_bytes=1_234_567,
                model_sha256="0" * 64,
                images_per_second=12_345.6,
                latency_ms=1.25,
                calibration=describe_calibration(predictions, None),
                label_suspects=0,
            )
        )
        return run

    return make


def _labels(images: int, classes: int) -> Int64Array:
    return np.arange(images, dtype=np.int64) % classes
