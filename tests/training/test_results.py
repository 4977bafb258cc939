"""The results of a finished run, and recomputing them."""

import csv
import shutil
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from thumbnet.atomic import write_json, write_text
from thumbnet.csv_files import read_table, write_table
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.models.flops import count_flop, count_training_flop, measure_model
from thumbnet.recipe import Recipe, shipped_recipes
from thumbnet.recipes import known_recipes
from thumbnet.runs.model_card import write_model_card
from thumbnet.runs.run import Run
from thumbnet.runs.seeds import summarise_seeds
from thumbnet.training import train
from thumbnet.training.progress import SilentDisplay
from thumbnet.training.results import recompute


@pytest.fixture
def copied(finished_run: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(finished_run.path, tmp_path / finished_run.name)))


def test_recomputing_gives_the_same_files(copied: Run) -> None:
    names = ("metrics.json", "classes.csv", "confusion.csv", "mistakes.csv", "label_suspects.csv")
    before = {name: (copied.path / name).read_bytes() for name in names}
    for name in names[1:]:
        (copied.path / name).unlink()
    recompute(copied)
    assert {name: (copied.path / name).read_bytes() for name in names} == before


def test_recomputing_corrects_a_metric_that_was_changed(copied: Run) -> None:
    right = copied.metrics()
    copied.write_metrics(right.model_copy(update={"accuracy": 0.99}))
    assert recompute(copied) == right
    assert copied.metrics() == right


def test_an_impossible_temperature_is_refused(copied: Run) -> None:
    values = copied.metrics().model_dump()
    values["calibration"]["temperature"] = -1
    write_json(copied.metrics_path, values)
    with pytest.raises(InputError, match=r"calibration.temperature: Input should be greater than"):
        copied.temperature()


def test_without_a_validation_split_nothing_is_calibrated(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override({"validation": 0, "epochs": 1})
    run = train(recipe, small, tmp_path / "run", display=SilentDisplay())
    calibration = run.metrics().calibration
    assert run.temperature() == 1
    assert calibration.after is None
    assert "no validation images" in (calibration.reason or "")
    assert "no validation images" in run.model_card_path.read_text(encoding="utf-8")


def test_the_model_card_describes_the_run(copied: Run) -> None:
    _, front, body = write_model_card(copied).read_text(encoding="utf-8").split("---\n", 2)
    values, metrics = yaml.safe_load(front), copied.metrics()
    (entry,) = values["model-index"]
    assert entry["results"][0]["metrics"][0]["value"] == metrics.accuracy
    assert values["library_name"] == "keras"
    assert f"{100 * metrics.accuracy:.2f}%" in body
    for digest in copied.environment().data.digests.values():
        assert digest in body
    assert Recipe.read(copied.recipe_path).to_toml() in body
    assert "has not been measured" in body


EVIL = [
    "<img src=x onerror=alert(1)>",
    "![seen](https://example.org/pixel.png)",
    "[click](javascript:alert(1)) <b>now</b> &lt;i&gt;",
    "`code` | **bold** | _it_",
    "# no heading",
    "1. no list",
    "ünï 😀 \\ 'quoted' \"twice\": - yes",
]


@pytest.mark.parametrize("text", EVIL)
def test_names_in_a_model_card_are_plain_text(copied: Run, text: str) -> None:
    metrics, recipe = copied.metrics(), copied.recipe()
    first = metrics.classes[0].model_copy(update={"name": text})
    changed = {"run": text, "data_name": text, "recipe": text, "architecture": text}
    classes = [first, *metrics.classes[1:]]
    copied.write_metrics(metrics.model_copy(update=changed | {"classes": classes}))
    write_text(copied.recipe_path, recipe.override({"description": text}).to_toml())

    _, front, body = write_model_card(copied).read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["model-index"][0]["name"] == text
    assert values["datasets"] == [text]
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    inline = [token for block in tokens for token in block.children or ()]
    kinds = {token.type for token in [*tokens, *inline]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "strong_open", "em_open"}
    shown = [
        "".join(token.content for token in block.children)
        for block in tokens
        if block.children is not None
    ]
    assert shown[0] == shown[1] == text  # the heading and the description
    assert shown.count(text) >= 3  # and the row of the class
    assert [block.info for block in tokens if block.type == "fence"] == ["toml", "console"]


def test_cells_that_a_spreadsheet_would_compute_are_marked_as_text(tmp_path: Path) -> None:
    names = ["=1+1.png", "+1", "-1", "@a", "'=2", "''-", "'plain", 'plain, and "so"', "", "\uff1d1"]
    rows = [{"image": name, "=class": -0.5} for name in names]
    write_table(tmp_path / "t.csv", rows)
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
        head, *cells = csv.reader(file)
    assert head == ["image", "'=class"]
    assert all(cell[:1] not in ("=", "+", "-", "@", "\uff1d") for cell, _ in cells)
    assert {number for _, number in cells} == {"-0.5"}
    assert [row["image"] for row in read_table(tmp_path / "t.csv")] == names
    assert all(row["=class"] == "-0.5" for row in read_table(tmp_path / "t.csv"))


def test_seeds_are_summarised(finished_run: Run, copied: Run) -> None:
    metrics = copied.metrics()
    changed = {"accuracy": metrics.accuracy + 0.2, "validation_accuracy": None}
    copied.write_metrics(metrics.model_copy(update=changed))
    figures = summarise_seeds([finished_run, copied]).figures
    assert figures["accuracy"].mean == pytest.approx(metrics.accuracy + 0.1)
    assert figures["accuracy"].std == pytest.approx(0.2 / 2**0.5)
    assert figures["validation_accuracy"].mean is None
    assert summarise_seeds([copied]).figures["accuracy"].std is None


def test_flop_agree_with_a_count_by_hand() -> None:
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, padding="same"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    assert count_flop(model) == 2 * (8 * 8 * 3 * 3 * 3 * 4) + 2 * (4 * 4 * 4 * 10)
    # The convolution needs most memory: its input and its output.
    assert measure_model(model).memory_bytes == 4 * (model.count_params() + 8 * 8 * (3 + 4))


def test_training_flop_agree_with_a_count_by_hand() -> None:
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(4, 2, trainable=False),
            layers.Conv2D(8, 3, padding="same"),
            layers.MaxPooling2D(2),
            layers.Conv2D(8, 3, padding="same"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10),
        ]
    )
    for side in (9, 17):
        inner = side - 1
        fixed = 2 * inner**2 * 2 * 2 * 3 * 4
        first = 2 * inner**2 * 3 * 3 * 4 * 8
        second = 2 * (inner // 2) ** 2 * 3 * 3 * 8 * 8
        logits = 2 * 8 * 10
        # Nothing before the first trained layer needs a gradient.
        expected = fixed + 2 * first + 3 * second + 3 * logits
        assert count_training_flop(model, (side, side, 3)) == expected


def test_the_known_recipes_are_shipped_ones() -> None:
    known = known_recipes()
    assert {recipe.name for recipe in known} <= set(shipped_recipes())
    assert all(0 < recipe.accuracy < 1 and recipe.flop_per_image > 0 for recipe in known)
