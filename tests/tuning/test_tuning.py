"""A search on real images: what is tried, kept, stopped, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from thumbnet.cli import main
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.progress import SilentDisplay
from thumbnet.recipe import Recipe, shipped_recipes
from thumbnet.run import Run
from thumbnet.training import planned_flop, resume, train
from thumbnet.tuning.findings import write_findings
from thumbnet.tuning.space import Choices, Range, neighbour, parse_space, space_text
from thumbnet.tuning.study import Plan, Tuning, search

SPACE = """
"optimizer.learning_rate" = { low = 0.001, high = 0.1, log = true }
"model.widths" = { choices = [[8], [16], [16, 8]] }
"epochs" = { low = 1, high = 2 }
"""


@pytest.fixture
def base(tiny_recipe: Recipe) -> Recipe:
    return tiny_recipe


def _plan(base: Recipe, dataset: Dataset, **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "recipe": base.to_toml(),
        "space": SPACE,
        "data": {},
        "objectives": ("accuracy",),
        "budget_seconds": 0.0,
        "trials": 6,
        "cost_limit": 100.0 * planned_flop(base, dataset),
        "storage": "",
        "seed": 0,
    }
    return Plan(**values | changes)


def test_the_flop_that_are_planned_are_those_that_are_spent(
    base: Recipe, small: Dataset, tmp_path: Path
) -> None:
    run = train(base, small, tmp_path / "run", SilentDisplay())
    assert run.metrics()["train_flops"] == planned_flop(base, small)


def test_a_search_finds_the_best_of_its_trials_without_the_test_images(
    base: Recipe, small: Dataset, tmp_path: Path
) -> None:
    tuning = Tuning.begin(tmp_path / "search", _plan(base, small))
    search(tuning, small, SilentDisplay())
    findings = write_findings(tuning)
    runs = [Run(path) for path in sorted((tuning.path / "trials").iterdir())]
    assert len(runs) == 6
    assert not any(run.finished or run.predictions_path.exists() for run in runs)
    assert sum(findings["trials"].values()) == 6
    (best,) = findings["best"]
    finished = [run for run in runs if len(run.history()) == run.recipe().epochs]
    accuracies = [run.history()[-1]["validation_accuracy"] for run in finished]
    assert best["validation_accuracy"] == pytest.approx(max(accuracies), abs=1e-6)
    chosen = Run(tuning.path / best["directory"]).recipe()
    recipe = Recipe.read(tuning.path / "best.toml")
    assert recipe.override({"name": chosen.name, "description": chosen.description}) == chosen
    assert (tuning.path / "figures" / "search.png").stat().st_size > 5_000
    # What was tried can be finished, and then reads them.
    assert (
        resume(Run(tuning.path / best["directory"]), small, SilentDisplay()).metrics()["accuracy"]
        >= 0
    )


def test_a_search_goes_on_where_it_was(base: Recipe, small: Dataset, tmp_path: Path) -> None:
    tuning = Tuning.begin(tmp_path / "search", _plan(base, small, trials=2))
    search(tuning, small, SilentDisplay())
    search(tuning, small, SilentDisplay())
    assert len(tuning.study().trials) == 2


def test_what_is_too_dear_is_not_trained(base: Recipe, small: Dataset, tmp_path: Path) -> None:
    plan = _plan(base, small, trials=2, cost_limit=float(planned_flop(base, small)))
    tuning = Tuning.begin(tmp_path / "search", plan)
    search(tuning, small, SilentDisplay())
    costs = {trial.number: trial.user_attrs["flop"] for trial in tuning.study().trials}
    for trial in tuning.study().trials:
        trained = (tuning.path / "trials" / f"{trial.number:04d}").exists()
        assert trained == (costs[trial.number] <= plan.cost_limit)
    assert write_findings(tuning)["trials"]["COMPLETE"] <= 2


def test_a_budget_of_time_ends_the_search(base: Recipe, small: Dataset, tmp_path: Path) -> None:
    plan = _plan(base, small, trials=0, budget_seconds=0.5)
    tuning = Tuning.begin(tmp_path / "search", plan)
    search(tuning, small, SilentDisplay())
    assert len(tuning.study().trials) >= 1


def test_accuracy_against_cost_gives_a_front(base: Recipe, small: Dataset, tmp_path: Path) -> None:
    tuning = Tuning.begin(
        tmp_path / "search", _plan(base, small, objectives=("accuracy", "cost"), trials=5)
    )
    search(tuning, small, SilentDisplay())
    best = write_findings(tuning)["best"]
    by_accuracy = sorted(best, key=lambda one: -one["validation_accuracy"])
    costs = [one["train_flops"] for one in by_accuracy]
    assert costs == sorted(costs, reverse=True)


def test_a_database_holds_the_study_as_well(base: Recipe, small: Dataset, tmp_path: Path) -> None:
    plan = _plan(base, small, trials=1, storage=f"sqlite:///{tmp_path}/study.db")
    tuning = Tuning.begin(tmp_path / "search", plan)
    search(tuning, small, SilentDisplay())
    assert not (tuning.path / "journal.log").exists()
    assert write_findings(tuning)["trials"]["COMPLETE"] == 1


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_has_a_space(name: str) -> None:
    recipe = Recipe.read(name)
    space = parse_space(space_text(recipe, None), "test", recipe)
    assert "optimizer.learning_rate" in space


def test_a_space_lies_beside_its_recipe(base: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(base.to_toml(), encoding="utf-8")
    assert neighbour(str(file)) is None
    beside = tmp_path / "mine.space.toml"
    beside.write_text(SPACE, encoding="utf-8")
    assert neighbour(str(file)) == beside
    assert parse_space(space_text(base, beside), "test", base) == {
        "optimizer.learning_rate": Range(0.001, 0.1, log=True),
        "model.widths": Choices(("[8]", "[16]", "[16, 8]")),
        "epochs": Range(1, 2),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names nothing to vary"),
        ("x = [", "is no TOML"),
        ('"optimizer.learning_rte" = { low = 0.1, high = 0.2 }', "learning_rate"),
        ('"optimizer.learning_rate" = { low = 0.2, high = 0.1 }', "low below high"),
        ('"optimizer.learning_rate" = { low = 0, high = 0.1, log = true }', "above 0"),
        ('"epochs" = 3', "must be"),
        ('"epochs" = { choices = [] }', "must be"),
        ('"epochs" = { low = -1, high = 3 }', "epochs"),
    ],
)
def test_a_space_that_cannot_be_used_is_refused(base: Recipe, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match="the space") as refused:
        parse_space(text, "the space", base)
    assert sentence in str(refused.value)


def _tune(*arguments: str, **more: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "thumbnet", "tune", *arguments, "--source", "sample"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | more
    )


def test_a_killed_worker_loses_no_trial_and_another_takes_up_its_own(
    base: Recipe, tmp_path: Path
) -> None:
    recipe, space, out = tmp_path / "slow.toml", tmp_path / "slow.space.toml", tmp_path / "search"
    slow = base.override({"epochs": 40, "batch_size": 20, "name": "slow"})
    recipe.write_text(slow.to_toml(), encoding="utf-8")
    space.write_text('"optimizer.learning_rate" = { low = 0.001, high = 0.1 }', encoding="utf-8")
    first = _tune(str(recipe), "--out", str(out), "--trials", "3")
    deadline = time.monotonic() + 120
    while not (out / "trials" / "0001" / "checkpoints").is_dir():
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.05)
    while not any((out / "trials" / "0001" / "checkpoints").iterdir()):
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second = _tune("--resume", str(out))
    output, _ = second.communicate(timeout=200)
    assert second.returncode == 0, output
    findings = json.loads((out / "findings.json").read_text())
    assert findings["trials"] == {"COMPLETE": 3, "PRUNED": 0, "FAIL": 1, "RUNNING": 0}
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["0000", "0001", "0003"]
    for path in (out / "trials").iterdir():
        assert len(Run(path).history()) == 40
    assert "Best recipe" in output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cnn"], "give a recipe and --out"),
        (["cnn", "--out", "new"], "say how much to try"),
        (["--resume", "missing"], "no directory of a search"),
        (["cnn", "--resume", "missing"], "it takes no others"),
        (["cnn", "--out", ".", "--trials", "1"], "is not empty"),
        (["cnn", "--out", "new", "--trials", "1", "--space", "no.toml"], "no.toml does not exist"),
    ],
)
def test_what_cannot_be_searched_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").touch()
    monkeypatch.setattr(sys, "argv", ["thumbnet", "tune", *arguments, "--source", "sample"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    output = capsys.readouterr().err
    assert sentence in " ".join(output.split())
