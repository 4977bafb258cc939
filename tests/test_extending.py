"""The package in docs/extending.md is installed and trained; other parts are registered."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import thumbnet
from thumbnet import registry
from thumbnet.data.dataset import Dataset
from thumbnet.data.reading import Reading
from thumbnet.errors import InputError
from thumbnet.recipe import Recipe
from thumbnet.runs.model_file import LAYERS
from thumbnet.runs.run import Run
from thumbnet.training.progress import SilentDisplay

PAGE = (Path(__file__).parent.parent / "docs" / "extending.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_package_in_the_page_is_installed_and_trained(tmp_path: Path) -> None:
    source, packages = tmp_path / "source", tmp_path / "packages"
    files = re.findall(r"^`([\w./]+)`[^\n]*\n\n```\w+\n(.*?)^```", PAGE, re.S | re.M)
    assert len(files) == 4
    for name, text in files:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    options: list[str | Path] = [
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        packages,
        source,
    ]
    # Environments created by uv have no pip.
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    uv = ["uv", "pip", "install", "--offline", "--python", sys.executable]
    subprocess.run([*(uv if shutil.which("uv") else pip), *options], check=True)

    path = os.pathsep.join([str(packages), *filter(None, [os.environ.get("PYTHONPATH")])])
    command: list[str | Path] = [sys.executable, "-m", "thumbnet", "train"]
    command += [source / "convmixer.toml"]
    command += ["--source", "sample", "--out", tmp_path / "run"]
    trained = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert trained.returncode == 0, trained.stderr
    assert "test accuracy" in trained.stdout
    # Without the package the run can be evaluated and served, but not trained again.
    assert Run.open(tmp_path / "run").metrics().architecture == "convmixer"
    with pytest.raises(InputError, match=r"model\.architecture: must be one of"):
        Run.open(tmp_path / "run").recipe()


def test_the_page_lists_the_layers_of_a_run() -> None:
    assert set(re.findall(r"`(\w+)`", PAGE.partition("these layers only")[2].split("\n")[0])) == (
        LAYERS - {"InputLayer"} | {"Sequential"}
    )


class Halving:
    """A third-party optimizer."""

    @staticmethod
    def build(settings: Any) -> Any:
        import keras

        return keras.optimizers.Lion(settings.learning_rate / 2)


class Numbers:
    """A reader for files of numbers."""

    @staticmethod
    def recognises(path: Path) -> bool:
        return path.suffix == ".numbers"

    @staticmethod
    def read(path: Path, reading: Reading) -> Dataset:
        pixels = np.loadtxt(path, dtype=np.uint8).reshape(-1, 4, 4, 1)
        labels = np.arange(len(pixels)) % 2
        half = len(pixels) // 2
        return Dataset.from_arrays(
            pixels[:half],
            labels[:half],
            test=(pixels[half:], labels[half:]),
            class_names=["a", "b"],
        )


class InMemory:
    """An export format that keeps models in this process; its files contain only their keys."""

    TARGET, MODEL, PACKAGE, EXTRA = "model.txt", "", "numpy", ""
    WRITTEN_WITH, QUANTIZES = (), False
    models: ClassVar[dict[str, Any]] = {}

    @classmethod
    def write(cls, model: Any, path: Path, metadata: Any, calibration: Any) -> None:
        cls.models[metadata["source_sha256"]] = model
        path.write_text(metadata["source_sha256"], encoding="utf-8")

    @classmethod
    def open_model(cls, path: Path) -> tuple[tuple[int, int, int], Any]:
        model = cls.models[path.read_text(encoding="utf-8")]
        _, height, width, channels = model.input_shape
        return (height, width, channels), lambda batch: np.asarray(model.predict_on_batch(batch))


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo a test's registrations after it."""
    monkeypatch.setattr(registry, "_registered", {})


def test_a_recipe_can_name_an_optimizer_from_a_script(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"optimizer\.name: must be one of adamw, muon, sgd"):
        tiny_recipe.override({"optimizer.name": "halving"})
    thumbnet.register("optimizer", "halving", Halving)
    recipe = tiny_recipe.override({"optimizer.name": "halving", "epochs": 1})
    run = thumbnet.train(recipe, small, tmp_path / "run", display=SilentDisplay())
    assert run.recipe().optimizer.name == "halving"


def test_a_reader_from_a_script_reads_its_format(tmp_path: Path) -> None:
    file = tmp_path / "mine.numbers"
    np.savetxt(file, np.random.default_rng(0).integers(256, size=(40, 16)), fmt="%d")
    with pytest.raises(InputError, match="is not a dataset"):
        thumbnet.load(file)
    thumbnet.register("reader", "numbers", Numbers)
    dataset = thumbnet.load(file)
    assert dataset.image_shape == (4, 4, 1)
    assert dataset.path == file


def test_a_format_from_a_script_can_be_exported_and_opened(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    thumbnet.register("export_format", "memory", InMemory)
    record = thumbnet.export_run(run, "memory", sample, lambda message: None)
    assert record.agreement == 1
    answers = thumbnet.open_engine(run, "memory").predict(np.asarray(sample.test.images[:3]))
    assert answers.shape == (3, 10)
    with pytest.raises(InputError, match="memory cannot be quantised; export to litert, onnx"):
        thumbnet.export_run(run, "memory", sample, lambda message: None, quantize=True)


@pytest.mark.parametrize(
    ("kind", "name", "part", "sentence"),
    [
        ("colour", "red", Halving, "'colour' cannot be registered"),
        ("architecture", "cnn", Halving, "there is already an architecture cnn"),
        ("augmentation", "mine", Halving, "the augmentation mine has no Setting and no MIXES_I"),
    ],
)
def test_invalid_registrations_are_refused(
    kind: Any, name: str, part: object, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        thumbnet.register(kind, name, part)


def test_a_package_that_cannot_be_imported_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: Recipe
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: broken\nVersion: 1.0\n", encoding="utf-8")
    entry = "[thumbnet.augmentations]\nbroken = nowhere_to_be_found\n"
    (info / "entry_points.txt").write_text(entry, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    registry._entry_points.cache_clear()
    try:
        with pytest.raises(InputError, match="augmentation broken of the package broken cannot be"):
            tiny_recipe.override({"augmentation.broken": 1})
    finally:
        monkeypatch.undo()
        registry._entry_points.cache_clear()
