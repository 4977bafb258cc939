import contextlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbnet.errors import InputError
from thumbnet.recipe import Recipe, shipped_recipes

ROOT = Path(__file__).parents[1]
MINIMAL = {"name": "mine", "model": {"architecture": "ann"}}


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_survives_saving(name: str, tmp_path: Path) -> None:
    recipe = Recipe.read(name)
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    assert Recipe.read(path) == recipe
    assert recipe.name == name
    assert recipe.description


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_names_its_study(name: str) -> None:
    file = files("thumbnet") / "recipes" / f"{name}.toml"
    found = re.search(r"^# Study: (?:none;|(\S+\.md), \"(.+)\"\.$)", file.read_text(), re.MULTILINE)
    assert found
    page, section = found.groups()
    if page:
        assert f"## {section}\n" in (ROOT / page).read_text(encoding="utf-8")


def test_the_default_recipes_ship() -> None:
    assert {"ann", "cnn"} <= set(shipped_recipes())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": 0}, r"epochs: input should be greater than or equal to 1, got 0"),
        ({"epoch": 3}, r"epoch: unknown key; did you mean epochs\?"),
        ({"optimizer": {"speed": 1}}, r"optimizer.speed: unknown key; known keys: .*momentum"),
        (
            {"optimizer": {"name": "lion"}},
            r"name: must be one of adamw, muon, sgd, got 'lion'",
        ),
        ({"model": {"architecture": "cnn", "width": [8]}}, r"model.width: .*did you mean widths"),
        ({"model": {"architecture": "ann", "widths": [0]}}, r"model.widths.0: .*, got 0"),
        ({"model": {"architecture": "rnn"}}, r"architecture: .*backbone, cnn, got 'rnn'"),
        ({"model": {}}, r"model.architecture: .*got None"),
        ({"seed": "x", "epochs": -1}, r"seed: .*; epochs: "),
        ({"loss": {"label_smoothing": float("nan")}}, r"loss.label_smoothing: .*finite"),
        ({"validation": 0, "stopping": {"patience": 2}}, r"stopping.patience watches"),
    ],
)
def test_errors_name_the_key_and_the_valid_values(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe.check(MINIMAL | values, "test")


def test_missing_keys_are_named() -> None:
    with pytest.raises(InputError, match=r"mine.toml: name: missing"):
        Recipe.check({"model": {"architecture": "ann"}}, "mine.toml")


def test_override_reads_toml_values_and_keeps_the_rest() -> None:
    recipe = Recipe.read("cnn")
    changed = recipe.override(
        {"model.widths": "[8, 16]", "optimizer.name": "sgd", "epochs": "3", "seed": 7}
    )
    dumped = changed.model_dump(mode="json")
    assert dumped["model"]["widths"] == [8, 16]
    assert (changed.optimizer.name, changed.epochs, changed.seed) == ("sgd", 3, 7)
    assert changed.augmentation == recipe.augmentation


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs.more": "3"}, "epochs.more: unknown key"),
        ({"modle.widths": "[3]"}, "modle: unknown key; did you mean model"),
        ({"batch_size": "many"}, "batch_size: .*got 'many'"),
    ],
)
def test_invalid_overrides_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recipe.read("ann").override(settings)


def test_an_invalid_recipe_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(InputError, match=r"broken.toml is not valid TOML"):
        Recipe.read(path)
    with pytest.raises(InputError, match=r"no recipe nosuch: choose from ann, best, cnn"):
        Recipe.read("nosuch")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*Recipe.model_fields, "widths", "x"]), inner)
        ),
        max_leaves=8,
    )
)
def test_any_values_give_a_recipe_or_an_input_error(values: Any) -> None:
    with contextlib.suppress(InputError):
        Recipe.check(MINIMAL | (values if isinstance(values, dict) else {"x": values}), "test")


def test_keys_of_version_0_1_0_get_their_new_names() -> None:
    old = {
        "name": "old",
        "ghost_batches": 1,
        "model": {"architecture": "ann", "components": 32},
        "augmentation": {"shift": 2, "scales": [0.5, 1.0]},
        "optimizer": {"name": "muon", "adam_share": 0.1},
        "stopping": {"until_accuracy": 0.5},
        "revisit": 0.7,
        "test_time_views": 2,
    }
    recipe = Recipe.check(old, "test").override({"parts": "2"})
    assert recipe.ghost_batches == 2
    assert recipe.model.model_dump()["pca_components"] == 32
    assert recipe.augmentation.random_crop_padding == 2
    assert recipe.augmentation.progressive_resizing == (0.5, 1.0)
    assert recipe.optimizer.adam_lr_ratio == 0.1
    assert recipe.stopping.target_accuracy == 0.5
    assert (recipe.hard_example_fraction, recipe.tta_views) == (0.7, 2)


def test_the_old_and_the_new_name_of_a_key_cannot_be_combined() -> None:
    both = {"name": "both", "model": {"architecture": "ann"}, "parts": 2, "ghost_batches": 2}
    with pytest.raises(InputError, match="parts is the old name of ghost_batches; give only one"):
        Recipe.check(both, "test")
