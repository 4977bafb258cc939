"""The first steps of a new user: first line, end of a training, predictions, completion."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from command import thumbnet
from thumbnet.cli import finish
from thumbnet.cli.completion import complete_recipe, complete_run
from thumbnet.cli.curves import HEIGHT, WIDTH, learning_curves
from thumbnet.data.dataset import Dataset
from thumbnet.engines import is_installed
from thumbnet.errors import JobError
from thumbnet.record import write_record
from thumbnet.runs.history import History
from thumbnet.runs.records import Exports
from thumbnet.runs.run import Run
from thumbnet.training.progress import PlainDisplay, SilentDisplay

MakeRun = Callable[..., Run]

FAST = ["--source", "sample", "--set", "model.widths=[8]", "--epochs", "1"]


def write_images(sample: Dataset, folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index}.png" for index in range(count)]
    for index, path in enumerate(paths):
        Image.fromarray(sample.test.images[index]).save(path)
    return paths


@pytest.mark.parametrize("command", ["train", "run"])
def test_the_first_line_comes_before_the_slow_imports(command: str, tmp_path: Path) -> None:
    code = (
        "import io, sys\n"
        "class Recorder(io.StringIO):\n"
        "    first = None\n"
        "    def write(self, text):\n"
        "        Recorder.first = Recorder.first or (text, sorted(slow & set(sys.modules)))\n"
        "        return len(text)\n"
        "slow = {'tensorflow', 'keras', 'sklearn', 'matplotlib', 'pandas', 'scipy'}\n"
        "sys.stderr = Recorder()\n"
        f"name = ['--recipe', 'ann'] if {command!r} == 'run' else ['ann']\n"
        f"sys.argv = ['thumbnet', {command!r}, *name, '--out', 'x', '--source', 'nosuch']\n"
        "from thumbnet.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(Recorder.first)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "ann: starting" in done.stdout
    assert done.stdout.rstrip().endswith(", [])")


@pytest.mark.slow
@pytest.mark.whole_run
def test_train_ends_with_commands_to_copy_and_a_fast_export(
    tmp_path: Path, sample: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my run"
    assert thumbnet("train", "ann", "--out", out, *FAST) == 0
    shown = capsys.readouterr()
    end = shown.err.rstrip().splitlines()[-4:]
    assert [line.split()[1] for line in end] == ["report", "predict", "export", "serve"]
    assert all(f"'{out}'" in line for line in end)
    assert "┤" not in shown.out  # no chart in a pipe
    if is_installed("litert"):
        assert "litert" in Run.open(out).exports()
    paths = write_images(sample, tmp_path / "images", 1)
    assert thumbnet("predict", out, *paths) == 0


@pytest.mark.slow
@pytest.mark.whole_run
def test_quiet_prints_only_results_and_no_export_skips_the_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert thumbnet("train", "ann", "--out", out, *FAST, "--quiet", "--no-export") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "test accuracy" in shown.out
    assert not Run.open(out).exports()


@pytest.mark.slow
@pytest.mark.whole_run
@pytest.mark.skipif(not is_installed("litert"), reason="LiteRT is not installed")
def test_an_export_of_an_earlier_model_is_replaced(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    finish.export_for_prediction(run, sample, SilentDisplay())
    exports = run.exports()
    earlier = exports["litert"].model_copy(update={"source_sha256": "0" * 64})
    write_record(run.exports_record_path, Exports({"litert": earlier}))
    finish.export_for_prediction(run, sample, SilentDisplay())
    assert run.exports()["litert"].source_sha256 == run.metrics().model_sha256
    assert thumbnet("predict", run.path, *write_images(sample, tmp_path / "images", 1)) == 0


@pytest.mark.whole_run
@pytest.mark.skipif(not is_installed("litert"), reason="LiteRT is not installed")
@pytest.mark.parametrize(
    "error", [JobError("the disk is full"), ValueError("odd"), KeyboardInterrupt()]
)
def test_a_failed_export_does_not_fail_the_run(
    finished_run: Run,
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("thumbnet.export.export_run", fail)
    finish.finish(finished_run, None, PlainDisplay(), export=True, quiet=True)
    shown = capsys.readouterr()
    assert "the run is complete, but was not exported: " in shown.err
    assert "thumbnet serve" in shown.err


def test_predict_accepts_folders_patterns_lists_and_standard_input(
    finished_run: Run,
    sample: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def predicted(*arguments: object) -> dict[str, str]:
        assert thumbnet("predict", finished_run.path, *arguments, "--json") == 0
        answers = json.loads(capsys.readouterr().out)
        return {answer["path"]: answer["class_name"] for answer in answers}

    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    paths = write_images(sample, tmp_path / "images", 3)
    expected = predicted(*paths)
    assert list(expected) == list(map(str, paths))
    assert predicted(tmp_path / "images") == expected
    assert predicted(tmp_path / "images" / "*.png") == expected
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, paths)), encoding="utf-8")
    assert predicted("--files-from", listed) == expected
    give(listed.read_bytes())
    assert predicted("--files-from", "-") == expected
    give(paths[0].read_bytes())
    assert predicted("-") == {"-": expected[str(paths[0])]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give image files, folders, or - for standard input"),
        (["nosuch-*.png"], "no file matches nosuch-*.png"),
        (["--files-from", "nosuch.txt"], "cannot read nosuch.txt"),
        (["-", "--files-from", "-"], "standard input can be read only once"),
        (["a.png", "--json", "--csv"], "--json and --csv cannot be combined"),
    ],
)
def test_predict_reports_missing_images(
    finished_run: Run,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert thumbnet("predict", finished_run.path, *arguments) == 2
    assert message in capsys.readouterr().err


def test_predict_writes_csv(
    finished_run: Run, sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_images(sample, tmp_path, 2)
    missing = tmp_path / "missing.png"
    assert thumbnet("predict", finished_run.path, *paths, missing, "--csv") == 2
    first, _, last = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert first["path"] == str(paths[0])
    assert first["class_name"] in sample.class_names
    probabilities = [float(first[name]) for name in sample.class_names]
    assert float(first["probability"]) == max(probabilities)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert (last["class_name"], last["probability"]) == ("", "")
    assert "does not exist" in last["error"]


def test_predictions_below_the_threshold_and_uncalibrated_ones_are_marked(
    finished_run: Run, sample: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, *_ = write_images(sample, tmp_path / "images", 1)
    assert thumbnet("predict", finished_run.path, path, "--reject-below", 1) == 0
    shown = capsys.readouterr()
    assert "not sure (" in shown.out
    assert "uncalibrated" not in shown.err
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    metrics = run.metrics()
    calibration = metrics.calibration.model_copy(
        update={"temperature": 1.0, "after": None, "reason": "only 15 validation images"}
    )
    run.write_metrics(metrics.model_copy(update={"calibration": calibration}))
    assert thumbnet("predict", run.path, path, "--reject-below", 0, "--json") == 0
    shown = capsys.readouterr()
    assert "probabilities are uncalibrated: only 15 validation images" in shown.err
    (answer,) = json.loads(shown.out)
    assert (answer["calibrated"], answer["rejected"]) == (False, False)


def test_predict_and_serve_have_the_same_default_threshold(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = []
    for command in ("predict", "serve"):
        assert thumbnet(command, "--help") == 0
        help_text = capsys.readouterr().out
        start = help_text.index("--reject-below")
        lines.append(" ".join(help_text[start:].replace("│", "").split("--")[1].split()))
    assert lines[0] == lines[1]
    assert "[default: 0.5]" in lines[0]


def test_tables_fit_80_columns_with_complete_names(
    finished_run: Run,
    make_run: MakeRun,
    sample: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in ("console", "tables"):
        monkeypatch.setattr(f"thumbnet.cli.{module}.width", lambda: 80)
    runs = [make_run(name).path for name in ("one", "two", "three", "four", "five")]
    for command in (
        ["evaluate", finished_run.path],
        ["compare", *runs],
        ["data", "info", "--source", "sample"],
    ):
        assert thumbnet(*command) == 0
        shown = capsys.readouterr().out
        assert max(map(len, shown.splitlines())) <= 80
        if command[0] != "compare":
            assert all(name in shown for name in sample.class_names)
    assert all(digest in shown for digest in sample.digests.values())


@pytest.mark.slow
def test_colours_mark_the_best_and_respect_no_color(
    make_run: MakeRun, finished_run: Run, tmp_path: Path
) -> None:
    runs = [str(make_run("weak", 1.0).path), str(make_run("strong", 3.0).path)]
    printed = {}
    for variables in ({}, {"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}):
        plain = {key: value for key, value in os.environ.items() if not key.endswith("_COLOR")}
        done = subprocess.run(
            [sys.executable, "-m", "thumbnet", "compare", *runs],
            capture_output=True,
            text=True,
            env=plain | {"PYTHONIOENCODING": "utf-8"} | variables,
            check=True,
        )
        printed[tuple(variables)] = done.stdout
    best = f"{Run(Path(runs[1])).metrics().accuracy:.2%}"
    assert re.search(rf"\x1b\[1;32m *{best}\x1b", printed["FORCE_COLOR",])
    assert "32m" not in printed["FORCE_COLOR", "NO_COLOR"]
    assert "\x1b" not in printed[()]


def test_learning_curves_are_drawn_as_text() -> None:
    rows = [
        {"epoch": epoch, "loss": 1.0, "accuracy": 0.1 * epoch, "validation_accuracy": 0.5}
        for epoch in range(1, 10)
    ]
    chart = learning_curves(History.of(rows))
    assert chart is not None
    title, *lines = chart.plain.splitlines()
    assert title == "accuracy"
    plot = [line[6:].ljust(WIDTH) for line in lines[:HEIGHT]]
    assert lines[0].startswith(" 90% ┤")
    assert lines[HEIGHT - 1].startswith(" 10% ┤")
    assert (plot[0][-1], plot[-1][0]) == ("·", "·")
    assert plot[HEIGHT // 2] == "●" * WIDTH
    assert "epoch 1" in lines[-2]
    assert max(map(len, lines)) < 80
    assert learning_curves(History.of(rows[:1])) is None


def test_shells_complete_recipes_and_runs(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(make_run("mine").path, tmp_path / "runs" / "mine")
    (tmp_path / "notes.txt").touch()
    (tmp_path / "cnn-wide.toml").touch()
    monkeypatch.chdir(tmp_path)
    assert complete_recipe("cn") == ["cnn", "cnn-wide.toml"]
    assert complete_recipe("au") == ["auto"]
    assert complete_run("") == ["runs/"]
    assert complete_run("runs/m") == ["runs/mine"]
    assert complete_run("nosuch/m") == []
    asked = {"COMP_WORDS": "thumbnet evaluate runs/", "COMP_CWORD": "2"}
    done = subprocess.run(
        [sys.executable, "-c", "from thumbnet.cli import app; app(prog_name='thumbnet')"],
        capture_output=True,
        text=True,
        env=os.environ | asked | {"_THUMBNET_COMPLETE": "complete_bash"},
        check=False,
    )
    assert done.stdout.split() == ["runs/mine"]
