"""Run directories from untrusted sources, or damaged in transfer."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anything import ANYTHING
from thumbnet.atomic import write_json
from thumbnet.errors import InputError
from thumbnet.interpretation.explain import load_arrays
from thumbnet.recipe import Recipe
from thumbnet.report.build import build_report
from thumbnet.runs.run import Run

OLD_RUN = Path(__file__).parent / "version_0_1_0"
FILES = ["recipe.toml", "environment.json", "metrics.json", "history.csv", "predictions.npz"]


def read_all(run: Run) -> None:
    """Read everything that later stages use of a run."""
    run.recipe()
    run.class_names()
    run.metrics()
    run.history()
    run.predictions()


@pytest.mark.slow
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_named_or_unchanged(
    finished_run: Run, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("stranger")
    for name in FILES:
        shutil.copy(finished_run.path / name, path)
    damaged = path / data.draw(st.sampled_from(FILES))
    content = bytearray(damaged.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(["cut", "change", "insert"])):
        case "cut":
            del content[position:]
        case "change":
            content[position] ^= data.draw(st.integers(1, 255))
        case "insert":
            content[position:position] = data.draw(st.binary(min_size=1, max_size=20))
    damaged.write_bytes(content)
    refusal = str(path)
    try:
        read_all(Run.open(path))
    except InputError as error:
        refusal = str(error)
    assert str(path) in refusal or "predictions" in refusal


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([*Recipe.model_fields, "other"]), ANYTHING))
@settings(deadline=None)
def test_any_recipe_is_read_or_refused(values: dict[str, Any]) -> None:
    refusal = "here"
    try:
        recipe = Recipe.check(values, "here")
    except InputError as error:
        refusal = str(error)
    else:
        assert Recipe.check(recipe.model_dump(mode="json"), "again") == recipe
    assert "here" in refusal


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30), max_size=3))
@settings(deadline=None)
def test_any_setting_is_accepted_or_refused(tiny_recipe: Recipe, changes: dict[str, str]) -> None:
    refusal = "override"
    try:
        tiny_recipe.override(changes)
    except InputError as error:
        refusal = str(error)
    assert refusal


def test_a_name_with_terminal_escape_sequences_is_refused(
    finished_run: Run, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    text = run.environment_path.read_text(encoding="utf-8")
    run.environment_path.write_text(text.replace("airplane", "\\u001b[2J"), encoding="utf-8")
    with pytest.raises(InputError, match=r"data.class_names.0: .* cannot be printed"):
        run.class_names()


@pytest.mark.parametrize(
    ("row", "column"),
    [("1,1e308", "loss"), ("1e308,2", "epoch"), ("1,nan", "loss"), ("1,-inf", "loss")],
)
def test_an_invalid_history_is_refused(
    finished_run: Run, tmp_path: Path, row: str, column: str
) -> None:
    shutil.copytree(finished_run.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.history_path.write_text(f"epoch,loss\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"history.csv is damaged: {column}: Input should be"):
        build_report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_diverged_loss_is_drawn(finished_run: Run, tmp_path: Path) -> None:
    shutil.copytree(finished_run.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.history_path.write_text("epoch,loss\n1,2\n2,3e38\n", encoding="utf-8")
    assert build_report([str(run.path)], str(tmp_path / "report.html")).is_file()


@pytest.mark.parametrize("key", ["train_seconds", "parameters", "flop_per_image", "model_bytes"])
def test_an_absurdly_large_metric_is_refused(finished_run: Run, tmp_path: Path, key: str) -> None:
    shutil.copytree(finished_run.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    write_json(run.metrics_path, run.metrics().model_dump() | {key: 10**300})
    with pytest.raises(InputError, match=f"metrics.json is damaged: {key}"):
        run.metrics()


def test_predictions_of_other_classes_are_refused(finished_run: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    predictions = run.predictions()
    names = tuple(f"other {name}" for name in predictions.class_names)
    replace(predictions, class_names=names).save(run.predictions_path)
    with pytest.raises(
        InputError, match=r"predictions\.npz and environment.json have different class"
    ):
        run.predictions()


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("integrated_gradients", np.zeros((), np.uint8)),
        ("integrated_gradients", np.zeros((11, 32, 32, 3), np.uint8)),
        ("integrated_gradients", np.zeros((12, 32, 32, 3))),
        ("grad_cam", np.zeros((12, 32, 32), np.uint8)),
        ("first_layer", np.zeros(5, np.uint8)),
        ("points", np.zeros((3, 3), np.float32)),
        ("points", np.full((1000, 2), np.nan, np.float32)),
        ("point_labels", np.array("x")),
    ],
)
def test_explanations_of_other_shapes_are_refused(
    name: str, array: npt.NDArray[Any], tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(OLD_RUN, tmp_path / "a run")))
    path = run.explanations_path / "explanations.npz"
    arrays = load_arrays(run)
    np.savez(path, **(arrays | {name: array}))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"explanations.npz is damaged: .*`thumbnet explain '.*'`"):
        load_arrays(run)
