"""Hyperparameter search on real images: trials, pruning, screening, killing and resuming."""

import contextlib
import html
import json
import math
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thumbnet.atomic import replacing, write_json
from thumbnet.cli import main
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobError, StorageError, ThumbnetError
from thumbnet.recipe import Recipe, shipped_recipes
from thumbnet.record import write_record
from thumbnet.runs.run import Run
from thumbnet.training import resume, train
from thumbnet.training.batches import Batches
from thumbnet.training.cost import planned_flop
from thumbnet.training.progress import SilentDisplay
from thumbnet.tuning import search as searching
from thumbnet.tuning.artifacts import write_findings
from thumbnet.tuning.search import search
from thumbnet.tuning.space import (
    Choices,
    Range,
    first_points,
    neighbour,
    parse_space,
    space_text,
    starting_point,
)
from thumbnet.tuning.study import Plan, Tuning

SPACE = """
"optimizer.learning_rate" = { low = 0.001, high = 0.1, log = true }
"model.widths" = { choices = [[8], [16], [16, 8]] }
"epochs" = { low = 1, high = 2 }
"""


@pytest.fixture
def base(tiny_recipe: Recipe) -> Recipe:
    return tiny_recipe


@pytest.fixture
def space(tmp_path: Path) -> Path:
    path = tmp_path / "test.space.toml"
    path.write_text(SPACE, encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_full_disk_stops_the_search_and_loses_nothing(
    base: Recipe, small: Dataset, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuning = _begin(base, space, small, trials=2)

    def fit_on_a_full_disk(*arguments: Any, **options: Any) -> None:
        with replacing(Path("/dev/full/run")):
            pass

    with monkeypatch.context() as patched:
        patched.setattr(searching, "fit", fit_on_a_full_disk)
        with pytest.raises(StorageError, match=r"continue with `thumbnet tune --resume .*search`"):
            search(tuning, small, SilentDisplay())
    assert Counter(trial.state.name for trial in tuning.study().trials)["FAIL"] == 0
    search(tuning, small, SilentDisplay())
    states = Counter(trial.state.name for trial in tuning.study().trials)
    assert states["FAIL"] == 1  # the trial that was running
    assert states["COMPLETE"] + states["PRUNED"] == 2


@pytest.mark.parametrize("cut", [1, 20])
def test_an_incomplete_last_line_of_a_journal_is_dropped(
    base: Recipe, small: Dataset, space: Path, cut: int
) -> None:
    tuning = _begin(base, space, small)
    journal = tuning.path / "journal.log"
    whole = journal.read_bytes()
    tuning.study().set_user_attr("lost", 1)
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert tuning.study().user_attrs == {}
    assert journal.read_bytes().startswith(whole)
    tuning.study().set_user_attr("kept", 2)
    assert tuning.study().user_attrs == {"kept": 2}


def test_a_search_in_a_database_is_resumed_only_where_it_is_named_again(
    base: Recipe, small: Dataset, space: Path
) -> None:
    database = space.parent / "studies.db"
    url = f"sqlite:///{database}"
    tuning = _begin(base, space, small, trials=1, storage=url)
    assert "--storage URL`" in tuning.resume_command
    stranger = space.parent / "stranger.db"
    plan = tuning.plan().model_copy(update={"storage": f"sqlite:///user:secret@/{stranger}"})
    write_record(tuning.path / "tuning.json", plan)
    with pytest.raises(InputError, match="give it again with --storage") as refused:
        Tuning(tuning.path).study()
    assert "secret" not in str(refused.value)
    assert not stranger.exists()
    assert Tuning(tuning.path, url).study().get_trials()
    assert not stranger.exists()


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("trials", "6", "trials: Input should be a valid integer"),
        ("budget_seconds", [], "budget_seconds: Input should be a valid number"),
        ("objectives", ["speed"], "objectives"),
        ("name", "\x1b[2J", "name: contains characters"),
        ("recipe", "x = [", "not valid TOML"),
        ("space", "", "varies no key"),
        ("data", {"name": "x"}, "it has no data"),
        ("reading", {"image_size": -1}, "image_size"),
        ("reading", {"no_such": 1}, "no_such"),
    ],
)
def test_a_damaged_plan_is_refused_in_one_sentence(
    base: Recipe, small: Dataset, space: Path, key: str, value: object, sentence: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tuning = _begin(base, space, small)
    values = tuning.plan().model_dump(mode="json")
    (values["data"] if key == "reading" else values)[key] = value
    write_json(tuning.path / "tuning.json", values)
    monkeypatch.setattr(sys, "argv", ["thumbnet", "tune", "--resume", str(tuning.path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"op_code": 8, "trial_id": 0, "user_attr": {"worker": "../../x"}}, "worker: String"),
        ({"op_code": 8, "trial_id": 0, "user_attr": {"directory": "/etc"}}, "directory: String"),
        ({"op_code": 8, "trial_id": 0, "user_attr": {"seconds_spent": "6"}}, "seconds_spent"),
        ({"op_code": 8, "trial_id": 0, "user_attr": {"goes_on_with": "../x"}}, "goes_on_with"),
        ({"op_code": 8, "trial_id": 0, "user_attr": {"screened": []}}, "screened"),
        (
            {"op_code": 9, "trial_id": 0, "system_attr": {"fixed_params": {"model.widths": "[9]"}}},
            "model.widths is not in the search space",
        ),
        ({"op_code": 99}, "journal.log is damaged"),
        ([], "journal.log is damaged"),
    ],
)
def test_a_damaged_journal_is_refused(
    base: Recipe, small: Dataset, space: Path, line: object, sentence: str
) -> None:
    tuning = _begin(base, space, small)
    tuning.study().ask()
    worker = {"worker_id": "someone"}
    with open(tuning.path / "journal.log", "a", encoding="utf-8") as journal:
        journal.write(json.dumps(line | worker if isinstance(line, dict) else line) + "\n")
    with pytest.raises(InputError, match=re.escape(sentence)):
        tuning.study()


def test_a_full_disk_does_not_damage_a_journal(base: Recipe, small: Dataset, space: Path) -> None:
    tuning = _begin(base, space, small)
    study, journal = tuning.study(), tuning.path / "journal.log"
    before = journal.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 30, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*journal.log: File too large"):
            study.set_user_attr("text", "x" * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert journal.read_bytes() == before
    study.set_user_attr("text", "y")
    assert tuning.study().user_attrs == {"text": "y"}


@pytest.mark.slow
def test_planned_flop_equal_the_flop_of_the_training(
    base: Recipe, small: Dataset, tmp_path: Path
) -> None:
    run = train(base, small, tmp_path / "run", display=SilentDisplay())
    assert run.metrics().train_flops == planned_flop(base, small)


def _begin(base: Recipe, space: Path, dataset: Dataset, **options: Any) -> Tuning:
    options = {"trials": 6, "max_cost": 100.0} | options
    plan = Plan.make(base, space, dataset, name="search", **options)
    return Tuning.begin(space.parent / "search", plan)


@pytest.mark.slow
def test_a_search_finds_the_best_of_its_trials_without_the_test_images(
    base: Recipe, small: Dataset, space: Path
) -> None:
    tuning = _begin(base, space, small)
    search(tuning, small, SilentDisplay())
    findings = write_findings(tuning)
    runs = [Run(path) for path in sorted((tuning.path / "trials").iterdir())]
    assert len(runs) == 6
    assert not any(run.finished or run.predictions_path.exists() for run in runs)
    assert sum(findings.counts().values()) == 6
    (best,) = findings.best
    finished = [run for run in runs if len(run.history()) == run.recipe().epochs]
    accuracies = [run.history().series("validation_accuracy")[1][-1] for run in finished]
    assert best.accuracy == pytest.approx(max(accuracies), abs=1e-6)
    chosen = Run(tuning.path / best.directory).recipe()
    recipe = Recipe.read(tuning.best_path)
    assert recipe.override({"name": chosen.name, "description": chosen.description}) == chosen
    # Resuming a trial finishes its run without another step, and then reads the test images.
    steps = {run.path.name: _last_checkpoint(run) for run in finished}
    for run in finished:
        metrics = resume(run, small, display=SilentDisplay()).metrics()
        assert metrics.steps == steps[run.path.name] == run.history()[-1].step
        assert metrics.validation_accuracy == pytest.approx(
            run.history()[-1].validation_accuracy, abs=1e-6
        )


def _last_checkpoint(run: Run) -> int:
    """The step of the newest checkpoint."""
    return max(int(path.stem.removeprefix("step-")) for path in run.checkpoints_path.iterdir())


@pytest.mark.slow
def test_the_initial_recipe_is_the_first_trial(base: Recipe, small: Dataset, space: Path) -> None:
    tuning = _begin(base, space, small, trials=1)
    search(tuning, small, SilentDisplay())
    first = Run(tuning.path / "trials" / "0000").recipe()
    assert first.model == base.model
    assert first.optimizer == base.optimizer


@pytest.mark.parametrize("name", ["ann", "cnn"])
def test_the_default_recipes_lie_in_the_spaces_of_their_architectures(name: str) -> None:
    recipe = Recipe.read(name)
    space = parse_space(space_text(recipe, None), "test", recipe)
    assert starting_point(space, recipe).keys() == space.keys()


@pytest.mark.parametrize("seed", range(5))
def test_the_first_points_try_every_choice_and_every_part_of_a_range(seed: int) -> None:
    recipe = Recipe.read("cnn")
    space = parse_space(space_text(recipe, None), "test", recipe)
    points = first_points(space, 10, seed)
    assert first_points(space, 10, seed) == points
    for key, dimension in space.items():
        values = [dimension.value(point[key]) for point in points]
        for value in values:
            recipe.override({key: value})
        if isinstance(dimension, Choices):
            assert all(choice in values for choice in dimension.all()), key
        else:
            assert all(dimension.low <= value <= dimension.high for value in values), key
    rates = np.log([point["optimizer.learning_rate"] for point in points])
    tenths = (rates - math.log(0.03)) / math.log(0.5 / 0.03) * 10
    assert sorted(tenths.astype(int)) == list(range(10))


@pytest.mark.parametrize("log", [False, True])
def test_the_quantiles_of_an_integer_range_cover_every_integer(log: bool) -> None:
    values = [Range(1, 6, log).at(step / 1_000) for step in range(1_000)]
    assert values == sorted(values)
    assert set(values) == set(range(1, 7))


@pytest.mark.slow
def test_the_space_filling_points_follow_the_initial_recipe(
    base: Recipe, small: Dataset, space: Path
) -> None:
    tuning = _begin(base, space, small, trials=4)
    search(tuning, small, SilentDisplay())
    tried = [trial.params for trial in tuning.study().trials[1:4]]
    # With accuracy as the only objective, epochs are not sampled.
    planned = [
        {key: value for key, value in point.items() if key != "epochs"}
        for point in tuning.plan().first()[:3]
    ]
    assert tried == planned


@pytest.mark.slow
def test_a_search_resumes_where_it_stopped(base: Recipe, small: Dataset, space: Path) -> None:
    tuning = _begin(base, space, small, trials=2)
    search(tuning, small, SilentDisplay())
    search(tuning, small, SilentDisplay())
    assert len(write_findings(tuning).outcomes) == 2


@pytest.mark.slow
def test_with_a_single_objective_a_trial_has_as_many_epochs_as_the_cost_limit_allows(
    base: Recipe, small: Dataset, space: Path
) -> None:
    space.write_text(
        '"model.widths" = { choices = [[16], [32]] }\n"epochs" = { low = 1, high = 5 }', "utf-8"
    )
    tuning = _begin(base, space, small, max_cost=2.0, trials=3)
    search(tuning, small, SilentDisplay())
    for outcome in write_findings(tuning).outcomes:
        # At twice the width, an epoch takes twice the FLOP.
        assert outcome.epochs == {"[16]": 4, "[32]": 2}[str(outcome.parameters["model.widths"])]


@pytest.mark.slow
def test_a_bad_trial_is_pruned_at_three_quarters_of_its_epochs(
    base: Recipe, small: Dataset, space: Path
) -> None:
    space.write_text('"optimizer.learning_rate" = { choices = [0.01, 1e-9] }', "utf-8")
    tuning = _begin(base.override({"epochs": 6}), space, small, trials=6)
    for rate in ["0.01"] * 5 + ["1e-09"]:
        tuning.study().enqueue_trial({"optimizer.learning_rate": rate})
    search(tuning, small, SilentDisplay())
    *others, hopeless = write_findings(tuning).outcomes
    assert {outcome.state for outcome in others} == {"finished"}
    assert (hopeless.state, len(hopeless.curve)) == ("pruned", 5)


@pytest.mark.slow
def test_a_trial_over_budget_is_not_trained(base: Recipe, small: Dataset, space: Path) -> None:
    space.write_text('"model.widths" = { choices = [[16], [512]] }', "utf-8")
    tuning = _begin(base, space, small, max_cost=1.0, trials=2)
    search(tuning, small, SilentDisplay())
    findings = write_findings(tuning)
    for outcome in findings.outcomes:
        assert (outcome.state == "over budget") == (outcome.parameters["model.widths"] == [512])
        assert bool(outcome.curve) == (outcome.state != "over budget")
    assert findings.counts()["finished"] == 2


@pytest.mark.slow
def test_a_search_ends_if_every_trial_is_over_budget(
    base: Recipe, small: Dataset, space: Path
) -> None:
    tuning = _begin(base, space, small, max_cost=0.01, trials=2)
    display = _RecordingDisplay()
    search(tuning, small, display)
    assert "cost more than --max-cost allows" in display.messages[-1]
    assert write_findings(tuning).best == ()


@pytest.mark.slow
def test_a_time_budget_ends_the_search(base: Recipe, small: Dataset, space: Path) -> None:
    tuning = _begin(base, space, small, trials=0, budget_seconds=0.5)
    search(tuning, small, SilentDisplay())
    assert len(tuning.study().trials) >= 1


@pytest.mark.slow
def test_accuracy_against_cost_gives_a_pareto_front(
    base: Recipe, small: Dataset, space: Path
) -> None:
    tuning = _begin(base, space, small, objectives=("accuracy", "cost"), trials=5)
    search(tuning, small, SilentDisplay())
    best = write_findings(tuning).best
    costs = [one.flop or 0 for one in best]
    assert costs == sorted(costs, reverse=True)
    epochs = {outcome.epochs for outcome in write_findings(tuning).outcomes}
    assert epochs == {1, 2}


@pytest.mark.slow
def test_the_best_quarter_of_the_screened_trials_is_trained_on_all_images(
    base: Recipe, small: Dataset, space: Path
) -> None:
    tuning = _begin(base, space, small, trials=6, screen=0.5)
    search(tuning, small, SilentDisplay())
    findings = write_findings(tuning)
    screened = [outcome for outcome in findings.outcomes if outcome.state == "screened"]
    (full,) = [outcome for outcome in findings.outcomes if outcome.state == "finished"]
    assert [outcome.number for outcome in screened] == [0, 1, 2, 3, 5]
    best = max(screened[:4], key=lambda outcome: outcome.accuracy or 0)
    assert full.parameters == best.parameters
    subsets = [Run(tuning.path / one.directory).recipe().subset for one in findings.outcomes]
    assert subsets == [0.5, 0.5, 0.5, 0.5, 1.0, 0.5]
    assert Recipe.read(tuning.best_path).subset == 1


@pytest.mark.slow
def test_a_database_holds_several_studies(base: Recipe, small: Dataset, space: Path) -> None:
    storage = f"sqlite:///{space.parent}/study.db"
    for place in ("one", "other"):
        (space.parent / place).mkdir()
        own = space.rename(space.parent / place / space.name)
        tuning = _begin(base, own, small, trials=1, storage=storage)
        search(tuning, small, SilentDisplay())
        assert not (tuning.path / "journal.log").exists()
        assert write_findings(tuning).counts() == {"finished": 1}
        space = own.rename(space)


@pytest.mark.parametrize(
    ("storage", "error", "sentence"),
    [
        ("oracle://tuner@localhost/studies", InputError, "database driver"),
        ("sqlite:////nowhere/study.db", JobError, "cannot be opened"),
    ],
)
def test_an_unusable_database_leaves_no_directory_behind(
    base: Recipe,
    small: Dataset,
    space: Path,
    storage: str,
    error: type[ThumbnetError],
    sentence: str,
) -> None:
    with pytest.raises(error, match=sentence):
        _begin(base, space, small, storage=storage)
    assert not (space.parent / "search").exists()


class _RecordingDisplay(SilentDisplay):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.names: list[str] = []
        self.standings: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    @contextlib.contextmanager
    def training(self, recipe: Recipe, batches: Batches) -> Iterator[None]:
        self.names.append(recipe.name)
        yield

    def standing(self, text: str) -> None:
        self.standings.append(text)


@pytest.mark.slow
def test_a_search_shows_its_progress(base: Recipe, small: Dataset, space: Path) -> None:
    tuning = _begin(base, space, small, trials=2, budget_seconds=600.0)
    display = _RecordingDisplay()
    search(tuning, small, display)
    assert display.names == ["trial 0", "trial 1"]
    assert display.standings[0].startswith("0 finished, 1 to go, ")
    best = write_findings(tuning).best[0]
    assert f"best {best.accuracy:.2%} in trial {best.number}, 2 finished" in display.messages[1]
    assert re.search(r"9:\d\d left", display.standings[-1])


@pytest.mark.slow
def test_time_without_a_running_worker_does_not_count_against_the_budget(
    base: Recipe, small: Dataset, space: Path
) -> None:
    tuning = _begin(base, space, small, trials=1)
    study = tuning.study()
    trial = study.ask()
    trial.set_user_attr("worker", "a-killed-one")
    trial.suggest_float("optimizer.learning_rate", 0.001, 0.1, log=True)
    recorded_before = 30.0
    trial.set_user_attr("seconds_spent", recorded_before)
    search(tuning, small, SilentDisplay())
    findings = write_findings(tuning)
    assert findings.counts() == {"abandoned": 1, "finished": 1}
    assert findings.seconds > recorded_before


class _BackwardDatetime(datetime):
    """A system clock that is set back by an hour on every read."""

    reads = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "_BackwardDatetime":
        cls.reads += 1
        return cls.fromtimestamp(time.time() - 3600 * cls.reads, tz)


@pytest.mark.slow
def test_a_clock_that_goes_back_does_not_lengthen_a_search(
    base: Recipe, small: Dataset, space: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optuna.storages.journal._storage.datetime", _BackwardDatetime)
    tuning = _begin(base, space, small, trials=0, budget_seconds=0.001)
    search(tuning, small, SilentDisplay())
    findings = write_findings(tuning)
    assert findings.seconds >= 0.001
    assert len(findings.outcomes) == 1


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_has_a_space(name: str) -> None:
    recipe = Recipe.read(name)
    space = parse_space(space_text(recipe, None), "test", recipe)
    assert "optimizer.learning_rate" in space


def test_a_space_next_to_its_recipe_is_found(base: Recipe, tmp_path: Path) -> None:
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
        ("", "it varies no key"),
        ("x = [", "is not valid TOML"),
        ('"optimizer.learning_rte" = { low = 0.1, high = 0.2 }', "learning_rate"),
        ('"optimizer.learning_rate" = { low = 0.2, high = 0.1 }', "low below high"),
        ('"optimizer.learning_rate" = { low = 0, high = 0.1, log = true }', "above 0"),
        ('"epochs" = 3', "must be"),
        ('"epochs" = { choices = [] }', "must be"),
        ('"epochs" = { low = -1, high = 3 }', "epochs"),
    ],
)
def test_an_invalid_space_is_refused(base: Recipe, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match="the space") as refused:
        parse_space(text, "the space", base)
    assert sentence in str(refused.value)


def _tune(*arguments: str, **more: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "thumbnet", "tune", *arguments, "--source", "sample"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | more
    )


@pytest.mark.slow
def test_another_worker_resumes_the_trial_of_a_killed_one(base: Recipe, tmp_path: Path) -> None:
    recipe, space, out = tmp_path / "slow.toml", tmp_path / "slow.space.toml", tmp_path / "search"
    slow = base.override({"epochs": 15, "batch_size": 20, "name": "slow"})
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
    assert findings["trials"] == {"finished": 3, "abandoned": 1}
    assert sorted(path.name for path in (out / "trials").iterdir()) == ["0000", "0001", "0003"]
    for path in (out / "trials").iterdir():
        assert len(Run(path).history()) == 15
    assert "Best recipe" in output


@pytest.mark.slow
def test_a_terminal_shows_the_trial_the_best_and_the_time_left(base: Recipe, space: Path) -> None:
    recipe = space.with_name("test.toml")
    recipe.write_text(base.to_toml(), encoding="utf-8")
    command = [sys.executable, "-m", "thumbnet", "tune", str(recipe), "--trials", "2"]
    command += ["--out", str(space.parent / "search"), "--budget", "1h", "--source", "sample"]
    master, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=terminal, env=environment
    ) as process:
        os.close(terminal)
        shown = b""
        # Reading a pseudo-terminal whose other end has closed raises an error instead of EOF.
        with contextlib.suppress(OSError):
            while part := os.read(master, 65_536):
                shown += part
    os.close(master)
    assert process.returncode == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"trial 1 .*epoch 1/2", text)
    assert re.search(r"best \d\d\.\d\d% in trial 0, 1 finished, 0 to go, 59:\d\d left", text)


@pytest.mark.slow
def test_the_report_of_a_search_shows_its_findings(
    base: Recipe, small: Dataset, space: Path
) -> None:
    tuning = _begin(base, space, small, trials=5)
    search(tuning, small, SilentDisplay())
    findings = write_findings(tuning)
    page = tuning.report_path.read_text(encoding="utf-8")
    assert f"{100 * (findings.best[0].accuracy or 0):.1f}%" in page
    charts = re.findall(r'<svg [^>]*aria-label="([^"]+)"', page)
    assert len(charts) == 4 + bool(findings.importances)
    assert len(list(tuning.figures_path.glob("*.svg"))) == len(charts)
    (table,) = re.findall(r"<caption>Every trial.*?</table>", page, re.DOTALL)
    assert table.count("<tr>") == 1 + len(findings.outcomes)
    assert tuning.best_path.read_text(encoding="utf-8").splitlines()[0] in html.unescape(page)
    # The rule of `test_a_bad_trial_is_pruned_at_three_quarters_of_its_epochs`.
    text = " ".join(page.split())
    assert "After 75.0% of its epochs, a trial was pruned if its best validation accuracy" in text
    assert "below the 25th percentile of the finished trials at that point, once 5 trials" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["cnn", "--out", "new", "--screen", "0.2", "--objective", "accuracy,cost"],
            "--screen works only with",
        ),
        (["cnn"], "give a recipe and --out"),
        (["cnn", "--out", "new"], "set --budget, such as 30m, or --trials"),
        (["--resume", "missing"], "is not the directory of a search"),
        (["cnn", "--resume", "missing"], "with its original options; leave out RECIPE"),
        (["cnn", "--out", ".", "--trials", "1"], "is not empty"),
        (["cnn", "--out", "new", "--trials", "1", "--space", "no.toml"], "no.toml does not exist"),
    ],
)
def test_unusable_options_are_refused(
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
