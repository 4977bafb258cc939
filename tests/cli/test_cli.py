"""The command as users and scripts see it: options, output, exit codes."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from command import thumbnet
from thumbnet.data.dataset import Dataset
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run

MakeRun = Callable[..., Run]

FAST = ["--source", "sample", "--set", "model.widths=[8]", "--epochs", "1"]


SUBCOMMANDS = [
    ["run"],
    ["train"],
    ["recipes"],
    ["evaluate"],
    ["compare"],
    ["report"],
    ["predict"],
    ["robustness"],
    ["explain"],
    ["audit"],
    ["curve"],
    ["export"],
    ["serve"],
    ["tune"],
    ["bench", "inference"],
    ["bench", "scaling"],
    ["data", "info"],
    ["data", "show"],
    ["data", "check"],
    ["data", "fetch"],
]


@pytest.mark.parametrize("subcommand", SUBCOMMANDS, ids=" ".join)
def test_every_subcommand_has_help_with_an_example(
    subcommand: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert thumbnet(*subcommand, "--help") == 0
    assert f"Example: thumbnet {' '.join(subcommand)}" in capsys.readouterr().out


def slow_imports(*arguments: object) -> set[str]:
    """The slow modules that a subcommand imports."""
    code = (
        f"import sys; sys.argv = ['thumbnet', *{[*map(str, arguments)]!r}]\n"
        "from thumbnet.cli import main\n"
        "try: main()\n"
        "except SystemExit as ending: assert not ending.code\n"
        "slow = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'pandas', 'scipy', 'requests'}\n"
        "print('slow:', *slow & set(sys.modules))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    return set(printed.splitlines()[-1].removeprefix("slow:").split())


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["--help", "recipes cnn", "data info --source sample"])
def test_simple_subcommands_import_nothing_slow(arguments: str) -> None:
    assert slow_imports(*arguments.split()) == set()


@pytest.mark.slow
def test_results_are_shown_without_keras_and_matplotlib(finished_run: Run) -> None:
    for command in (["evaluate"], ["compare", finished_run.path]):
        found = slow_imports(*command, finished_run.path)
        assert found.isdisjoint({"tensorflow", "keras", "matplotlib", "requests"})


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert thumbnet("--version") == 0
    assert capsys.readouterr().out.startswith("thumbnet 0.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "give a recipe or --data PATH, and --out DIR; or --resume RUN"),
        (["train", "nosuch", "--out", "x"], "no recipe nosuch: choose from ann, best, cnn"),
        (["train", "ann", "--out", "x", "--set", "epochs"], "give KEY=VALUE"),
        (["train", "ann", "--out", "x", "--set", "epoch=1"], "did you mean epochs?"),
        (["train", "ann", "--out", "x", "--epochs", "0"], "epochs: input should be greater"),
        (["train", "ann", "--out", "x", "--budget", "soon"], "--budget soon: give a positive time"),
        (["train", "ann", "--out", "x", "--target-accuracy", "90"], "target_accuracy: "),
        (["train", "ann", "--out", "x", "--data", "nosuch"], "nosuch"),
        (["train", "ann", "--out", "x", "--source", "moon"], "moon"),
        (["train", "ann", "--resume", "x"], "--resume continues a run with its own recipe"),
        (["train", "--resume", "nosuch"], "nosuch is not a directory"),
        (["run", "--recipe", "ann", "--recipe", "ann"], "two recipes have the same name"),
        (["run", "--data", "x", "--source", "npm"], "cannot be combined"),
        (["evaluate", "nosuch"], "nosuch is not a directory"),
        (["predict", "nosuch", "a.png"], "nosuch is not a directory"),
        (["recipes", "nosuch"], "no recipe nosuch"),
        (["robustness", "nosuch"], "nosuch is not a directory"),
        (["explain", "nosuch"], "nosuch is not a directory"),
        (["audit", "nosuch"], "nosuch is not a directory"),
        (
            ["train", "--resume", "x", "--seeds", "2"],
            "--resume continues a run with its own recipe",
        ),
        (["train", "ann", "--out", "x", "--distributed", "--seeds", "2"], "trains a single run"),
        (["train", "ann", "--out", "x", "--distributed"], "no launcher's variables are set"),
    ],
    ids=" ".join,
)
def test_bad_input_gets_one_sentence_and_exit_code_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert thumbnet(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "thumbnet: error: " in shown.err
    assert message in shown.err
    assert "Traceback" not in shown.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["nosuch"], ["train", "--nosuch"], ["evaluate"]])
def test_bad_usage_gets_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert thumbnet(*arguments) == 2
    assert "Usage: " in capsys.readouterr().err


@pytest.mark.slow
def test_train_writes_a_run_and_prints_its_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert thumbnet("train", "ann", "--out", out, *FAST, "--seed", 3, "--validation", 0.2) == 0
    shown = capsys.readouterr()
    assert "test accuracy" in shown.out
    assert str(out) in shown.out.replace("\n", "")
    assert "finished all 1 epochs" in shown.err
    assert "epoch 1/1  loss" in shown.err
    recipe = Run.open(out).recipe()
    assert (recipe.seed, recipe.validation, recipe.epochs) == (3, 0.2, 1)

    assert thumbnet("train", "ann", "--out", out, *FAST) == 2
    assert "is not empty" in capsys.readouterr().err
    assert thumbnet("train", "ann", "--out", out, *FAST, "--overwrite") == 0
    assert Run.open(out).recipe().seed == 0
    assert thumbnet("train", "--resume", out) == 0


def test_overwrite_removes_only_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert thumbnet("train", "ann", "--out", tmp_path, *FAST, "--overwrite") == 2
    assert "is not a run directory" in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.slow
@pytest.mark.whole_run
def test_run_trains_compares_and_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipes = []
    for name, architecture in (("one", "ann"), ("two", "cnn")):
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(
            f'name = "{name}"\nepochs = 1\nprecision = "auto"\n[model]\n'
            f'architecture = "{architecture}"\nwidths = [8]\n',
            encoding="utf-8",
        )
        recipes += ["--recipe", recipe]
    out = tmp_path / "demo"
    assert thumbnet("run", "--out", out, "--source", "sample", *recipes) == 0
    shown = capsys.readouterr()
    assert "one vs two: " in shown.out
    assert shown.out.rstrip().endswith("report.html")
    assert "bundled sample" in shown.err
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "one" in report
    assert "two" in report

    for name in ("one", "two"):
        robustness = Run.open(out / name).robustness()
        assert robustness is not None
        assert robustness.images == 200
        assert Run.open(out / name).explanations() is not None

    before = Run.open(out / "two").metrics()
    assert thumbnet("run", "--out", out, "--source", "sample", *recipes) == 0
    assert "already finished" in capsys.readouterr().err
    assert Run.open(out / "two").metrics() == before
    assert thumbnet("run", "--out", out, "--source", "sample", *recipes, "--seed", 1) == 2
    refusal = " ".join(capsys.readouterr().err.split())
    assert "contains a run of a different recipe (seed = 0 instead of 1)" in refusal


def test_recipes_are_listed_and_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert thumbnet("recipes") == 0
    listed = capsys.readouterr().out
    assert "ann: " in listed
    assert "cnn: " in listed
    assert thumbnet("recipes", "cnn") == 0
    (tmp_path / "mine.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert thumbnet("recipes", tmp_path / "mine.toml") == 0


def test_evaluate_as_table_json_and_csv(
    finished_run: Run, sample: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = finished_run.metrics()
    assert thumbnet("evaluate", finished_run.path) == 0
    table = capsys.readouterr().out
    assert f"{metrics.accuracy:.2%}" in table
    assert "weighted average" in table
    assert "true \\ predicted" in table

    assert thumbnet("evaluate", finished_run.path, "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == metrics.model_dump()

    assert thumbnet("evaluate", finished_run.path, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["name"] for row in rows[:10]] == list(sample.class_names)
    assert float(rows[0]["recall"]) == metrics.classes[0].recall


def test_recomputing_changes_nothing(finished_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = finished_run.metrics_path.read_bytes()
    assert thumbnet("evaluate", finished_run.path, "--recompute", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == json.loads(before)
    assert "entries are unchanged" in shown.err
    assert finished_run.metrics_path.read_bytes() == before


@pytest.mark.slow
def test_several_seeds_are_summarised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "seeds"
    command = ["train", "ann", "--out", out, *FAST, "--set", "precision=auto"]
    command += ["--seeds", 2, "--seed", 5]
    assert thumbnet(*command) == 0
    assert "std" in capsys.readouterr().out
    summary = json.loads((out / "seeds.json").read_text(encoding="utf-8"))
    assert summary["seeds"] == [5, 6]
    values = [Run.open(out / name).metrics().accuracy for name in ("seed-5", "seed-6")]
    assert summary["figures"]["accuracy"]["values"] == values
    assert thumbnet(*command) == 0
    assert capsys.readouterr().err.count("already finished") == 2


@pytest.mark.slow
def test_trust_subcommands_write_into_the_run(
    finished_run: Run, sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    assert thumbnet("robustness", run.path, "--images", 5, "--json") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 5
    assert thumbnet("robustness", run.path, "--images", 5) == 0
    assert "PGD" in capsys.readouterr().out
    assert thumbnet("audit", run.path) == 0
    assert "near-duplicate" in capsys.readouterr().out
    assert thumbnet("explain", run.path) == 0
    picture, why = tmp_path / "one.png", tmp_path / "why.png"
    Image.fromarray(sample.test.images[0]).save(picture)
    assert thumbnet("explain", run.path, picture, "--out", why) == 0
    assert why.is_file()
    assert thumbnet("predict", run.path, picture, "--reject-below", 1) == 0
    assert "not sure" in capsys.readouterr().out
    assert {path.name for path in run.path.iterdir()} >= {
        "robustness.json",
        "robustness.csv",
        "audit.json",
        "near_duplicates.csv",
        "explanations",
        "MODEL_CARD.md",
    }


def test_compare_as_table_and_json(finished_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert thumbnet("compare", finished_run.path, finished_run.path) == 0
    assert "no significant difference" in capsys.readouterr().out
    assert thumbnet("compare", finished_run.path, finished_run.path, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert len(values["runs"]) == 2
    (pair,) = values["pairs"]
    assert pair["both_right"] + pair["both_wrong"] == finished_run.metrics().test_images
    assert pair["p_value"] == 1


def test_runs_on_different_images_are_refused_before_anything_is_printed(
    finished_run: Run, make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run("other-images")
    assert thumbnet("compare", finished_run.path, other.path) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "were tested on different images" in shown.err


@pytest.mark.slow
def test_the_report_is_written_to_the_given_path(
    finished_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "r.html"
    assert thumbnet("report", finished_run.path, "--out", out) == 0
    assert capsys.readouterr().out.strip() == f"Report: {out}"
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_predict_as_table_and_json(
    finished_run: Run,
    sample: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(sample.test.images[0]).save(good)
    bad.write_text("x", encoding="utf-8")
    assert thumbnet("predict", finished_run.path, good) == 0
    assert "good.png" in capsys.readouterr().out.replace("\n", "")

    assert thumbnet("predict", finished_run.path, good, bad, "--json", "--top", 2) == 2
    shown = capsys.readouterr()
    first, second = json.loads(shown.out)
    assert first["class_name"] in sample.class_names
    assert next(iter(first["probabilities"])) == first["class_name"]
    assert len(first["probabilities"]) == 2
    assert "bad.png is not an image" in second["error"]
    assert "bad.png is not an image" in shown.err


@pytest.mark.slow
def test_data_info_and_show(
    sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert thumbnet("data", "info", "--source", "sample") == 0
    shown = capsys.readouterr().out
    assert sample.digests["train_images"] in shown
    assert "airplane" in shown
    assert thumbnet("data", "info", "--source", "sample", "--json") == 0
    assert json.loads(capsys.readouterr().out)["digests"] == sample.digests
    out = tmp_path / "grid.png"
    assert thumbnet("data", "show", "--source", "sample", "--out", out) == 0
    with Image.open(out) as picture:
        assert picture.width > 300


@pytest.mark.slow
def test_a_closed_pipe_is_not_an_error(finished_run: Run) -> None:
    command = f"{sys.executable} -m thumbnet evaluate {finished_run.path} --json | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("thumbnet.training.session.prepare", "interrupted"),
        (
            "thumbnet.training.sgemm_gflops",
            "interrupted; continue with `thumbnet train --resume '{}'`",
        ),
        (
            "thumbnet.training.results.write_results",
            "interrupted; continue with `thumbnet train --resume '{}'`",
        ),
    ],
)
def test_sigterm_outside_the_steps_ends_with_the_usual_message(
    where: str,
    said: str,
    tiny_recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(where, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    recipe, out = tmp_path / "tiny.toml", tmp_path / "my run"
    recipe.write_text(tiny_recipe.override({"subset": 0.1}).to_toml(), encoding="utf-8")
    assert thumbnet("train", recipe, "--source", "sample", "--out", out) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"thumbnet: error: {said.format(out)}"
