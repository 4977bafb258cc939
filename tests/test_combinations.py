"""All pairs of values of a recipe's keys, on tiny runs: train, resume, evaluate, report, predict.

Options that work alone can fail in pairs: this would have found float16 losing its loss scaling
with ghost batches, and early stopping reporting the validation accuracy of a different epoch.
"""

import csv
import itertools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

from thumbnet.cli import main
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run

KEYS: dict[str, tuple[Any, ...]] = {
    "hard_example_fraction": (1.0, 0.5),
    "balance": ("none", "class_weights", "sampling"),
    "optimizer.name": ("muon", "sgd", "adamw"),
    "optimizer.weight_decay": (0.0, 0.01),
    "validation": (0.25, 0.0),
    "stopping.patience": (0, 1),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16", "auto"),
    "model.architecture": ("ann", "cnn"),
    "model.dropout": (0.0, 0.3),
    "ghost_batches": (1, 2),
    "tta_views": (1, 2, 6),
    "metrics": (["accuracy"], ["accuracy", "top_5_accuracy"]),
    "subset": (1.0, 0.5),
    "deterministic": (False, True),
    "loss.label_smoothing": (0.0, 0.1),
    "schedule.decay": ("linear", "cosine", "constant"),
    "schedule.warmup": (0.0, 0.4),
    "augmentation.flip": ("none", "random", "alternating"),
    "augmentation.random_crop_padding": (0, 2),
    "augmentation.cutout": (0, 6),
    "augmentation.progressive_resizing": ([1.0], [0.75, 1.0]),
    "augmentation.mixup": (0.0, 0.3),
    "augmentation.cutmix": (0.0, 0.5),
    "stopping.budget_seconds": (0, 1_000),
}


Values = dict[str, Any]


def _recipe(values: Values) -> dict[str, Any]:
    """A tiny recipe with these values, as nested tables."""
    recipe: dict[str, Any] = {"name": "tiny", "epochs": 2, "batch_size": 40}
    recipe["model"] = {"architecture": "ann", "widths": [8]}
    for key, value in values.items():
        *tables, name = key.split(".")
        table = recipe
        for each in tables:
            table = table.setdefault(each, {})
        table[name] = value
    return recipe


def _is_allowed(values: Values) -> bool:
    """Whether these values can be trained together."""
    # Both are refused only when the model is built, because recipes of version 0.1.0 may have them.
    if values.get("optimizer.name") == "muon" and values.get("optimizer.weight_decay"):
        return False
    fixed_size = values.get("model.architecture") == "ann"
    if fixed_size and values.get("augmentation.progressive_resizing", [1.0]) != [1.0]:
        return False
    try:
        Recipe.check(_recipe(values), "test")
    except InputError:
        return False
    return True


# Pairs are compared some hundred thousand times, so a value is represented by its position.
Choice = dict[str, int]
Pair = tuple[tuple[str, int], tuple[str, int]]


def _values(choice: Choice) -> Values:
    return {key: KEYS[key][position] for key, position in choice.items()}


def _pairs(choice: Choice) -> set[Pair]:
    return set(itertools.combinations(choice.items(), 2))


def _combinations(seed: int) -> list[Values]:
    """A small set of combinations that covers every allowed pair, chosen greedily at random."""
    generator = random.Random(seed)
    left: set[Pair] = {
        ((first, a), (second, b))
        for first, second in itertools.combinations(KEYS, 2)
        for a in range(len(KEYS[first]))
        for b in range(len(KEYS[second]))
        if _is_allowed(_values({first: a, second: b}))
    }
    found = []
    while left:
        pair = dict(min(left))
        drawn = [
            {key: generator.randrange(len(values)) for key, values in KEYS.items()} | pair
            for _ in range(400)
        ]
        drawn.sort(key=lambda choice: -len(left & _pairs(choice)))
        best = next(choice for choice in drawn if _is_allowed(_values(choice)))
        found.append(_values(best))
        left -= _pairs(best)
    return found


COMBINATIONS = _combinations(seed=11)


def thumbnet(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """Run the command in this process; it must succeed."""
    monkeypatch.setattr("sys.argv", ["thumbnet", *map(str, arguments)])
    with pytest.raises(SystemExit, match=r"^0$"):
        main()


@pytest.fixture(scope="module")
def folder(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `small` as a file for the command."""
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(
        path,
        x_train=np.asarray(small.train.images[:240]),
        y_train=small.train.labels[:240],
        x_test=np.asarray(small.test.images[:60]),
        y_test=small.test.labels[:60],
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(COMBINATIONS)))
def test_a_combination_trains_resumes_and_is_reported(
    number: int,
    folder: Path,
    small: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = _recipe(COMBINATIONS[number])
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(tomli_w.dumps(values), encoding="utf-8")
    run_again = ["run", "--recipe", recipe, "--data", folder, "--out", tmp_path / "runs"]

    thumbnet(monkeypatch, *run_again)
    run = Run(tmp_path / "runs" / "tiny")
    assert run.finished
    before = _figures(run)
    thumbnet(monkeypatch, *run_again)  # finds its own run
    assert _figures(run) == before

    # Resume from the end of the first epoch, as after a kill before the results were written.
    run.metrics_path.unlink()
    newest = max(run.checkpoints_path.glob("step-*.npz"))
    shutil.move(newest, tmp_path)
    thumbnet(monkeypatch, "train", "--resume", run.path)
    after = _figures(run)
    assert after["steps"] == before["steps"]
    assert after["accuracy"] == pytest.approx(before["accuracy"], abs=0.05)
    if values["deterministic"]:
        assert after == before

    best = _validation_accuracy(run, patience=values["stopping"]["patience"])
    assert after["validation_accuracy"] == (best if best is None else pytest.approx(best))
    capsys.readouterr()
    thumbnet(monkeypatch, "evaluate", run.path, "--json")
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["accuracy"] == after["accuracy"]
    assert "tiny" in (tmp_path / "runs" / "report.html").read_text(encoding="utf-8")
    Image.fromarray(np.asarray(small.test.images[0])).save(tmp_path / "picture.png")
    capsys.readouterr()
    thumbnet(monkeypatch, "predict", run.path, tmp_path / "picture.png", "--json", "--top", "10")
    (predicted,) = json.loads(capsys.readouterr().out)
    assert sum(predicted["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def _figures(run: Run) -> dict[str, Any]:
    """The metrics of a run that do not depend on the clock."""
    metrics = json.loads(run.metrics_path.read_text(encoding="utf-8"))
    names = ("accuracy", "macro_f1", "log_loss", "validation_accuracy", "steps", "epochs_run")
    return {name: metrics.get(name) for name in names}


def _validation_accuracy(run: Run, patience: int) -> float | None:
    """The one of the saved weights: the best epoch's with early stopping, else the last's."""
    with open(run.history_path, encoding="utf-8", newline="") as file:
        found = [float(row.get("validation_accuracy") or "nan") for row in csv.DictReader(file)]
    if np.isnan(found).all():
        return None
    return max(found) if patience else found[-1]
