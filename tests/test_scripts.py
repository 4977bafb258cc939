"""The fast parts of the scripts in `benchmarks/`: reading, fitting, comparing, writing."""

import subprocess
import sys
from pathlib import Path

import cost_growth
import harness
import pytest
import regression
import time_to_accuracy

import tuning
from thumbnet import InputError, JobError, Recipe
from thumbnet.runs.records import Metrics
from thumbnet.runs.run import Run
from thumbnet.tuning.findings import FindingsRecord

BASELINE = {"images_per_sgemm_gflop": 20.0, "accuracy": 0.5}


def test_the_exponent_of_a_power_law_is_fitted() -> None:
    values = (16, 32, 64)
    growth = cost_growth.Growth("side", "step", values, tuple(0.003 * v**1.7 for v in values))
    exponent, constant = growth.line
    assert exponent == pytest.approx(1.7)
    assert constant == pytest.approx(0.003)
    assert "| side | 1.70 | step |" in cost_growth.describe([growth], "stem")
    assert len(cost_growth.draw([growth]).axes) == 1


def test_a_curve_gives_the_final_accuracy_and_the_cost_of_each_level(tmp_path: Path) -> None:
    path = tmp_path / "fast.0.csv"
    path.write_text(
        "# Machine: any\n"
        "epoch,seconds,sgemm_tflop,accuracy,accuracy_tta\n"
        "1,10,1.5,0.65,\n"
        "2,20,3,0.82,0.84\n",
        encoding="utf-8",
    )
    curve = time_to_accuracy.read_curve(path)
    assert curve.contestant == "fast"
    assert curve.last["accuracy_tta"] == 0.84
    assert [curve.cost_of(level) for level in (0.6, 0.8, 0.9)] == [1.5, 3.0, None]
    page = time_to_accuracy.describe([curve], "curves")
    assert "| fast | 1 | 2 | 0.8200 | 0.8400 | 20 | 3.0 | 3.0 | 3.0 | – |" in page
    assert len(time_to_accuracy.draw([curve]).axes) == 2


@pytest.mark.parametrize(
    ("speed", "accuracy", "complaint"),
    [(16.0, 0.5, "speed"), (20.0, 0.46, "accuracy"), (17.5, 0.48, None), (30.0, 0.6, None)],
)
def test_a_result_below_the_tolerance_is_a_regression(
    speed: float, accuracy: float, complaint: str | None
) -> None:
    found = {"images_per_sgemm_gflop": speed, "accuracy": accuracy}
    if complaint is None:
        regression.require_no_worse(found, BASELINE)
        return
    with pytest.raises(JobError, match=complaint):
        regression.require_no_worse(found, BASELINE)


def test_a_baseline_with_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    with pytest.raises(InputError, match="write-baseline"):
        regression.read_baseline(path)
    path.write_text('{"settings": {"epochs": 99}, "seeds": [0, 1, 2]}', encoding="utf-8")
    with pytest.raises(InputError, match="different settings"):
        regression.read_baseline(path)


def test_a_script_runs_without_the_variables_that_thumbnet_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, os, sys\n"
        "names = ['TF_ENABLE_ONEDNN_OPTS', 'OWN']\n"
        "print(json.dumps({name: os.getenv(name) for name in names}))\n"
        "sys.exit(int(sys.argv[1]))\n",
        encoding="utf-8",
    )
    rows = harness.run_script(script, "0", environment={"OWN": "x"})
    assert rows == [{"TF_ENABLE_ONEDNN_OPTS": None, "OWN": "x"}]
    with pytest.raises(subprocess.CalledProcessError):
        harness.run_script(script, "3")


def test_the_page_compares_the_found_recipe_with_the_default(finished_run: Run) -> None:
    def metrics(accuracy: float) -> Metrics:
        return finished_run.metrics().model_copy(
            update={
                "validation_accuracy": accuracy + 0.01,
                "accuracy": accuracy,
                "train_flops": 21.5e12,
                "train_seconds": 150.0,
                "sgemm_tflop": 30.0,
            }
        )

    runs = {
        "poor": [metrics(0.6), metrics(0.62)],
        "cnn": [metrics(0.86), metrics(0.87)],
        "found": [metrics(0.85), metrics(0.87)],
    }
    findings = FindingsRecord(
        seconds=1800.0, trials={"finished": 5, "screened": 20}, best=[], importances={}
    )
    page = tuning.describe_search(runs, findings, 'name = "poor-tuned"')
    assert "5 finished, 20 screened" in page
    assert "falls short of `cnn` by 0.5 points" in page
    assert (
        "| found | 2 | 0.8700 ± 0.0141 | 0.8600 ± 0.0141 | 21.5 ± 0.0 | 150 ± 0 | 30.0 ± 0.0 |"
        in page
    )
    assert "1.80 times as many with two" in tuning.describe_workers([(10, 17), (10, 19)], 60)


def test_the_initial_recipe_of_the_search_is_worse_than_the_default() -> None:
    poor, default = Recipe.read(tuning.POOR), Recipe.read("cnn")
    assert poor.optimizer != default.optimizer
    assert poor.augmentation == type(poor.augmentation)()


def test_a_page_states_command_machine_and_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks/engines.py", "--steps", "3"])
    page = harness.document("Title", harness.markdown_table(["a", "b"], [["1", "2"]]))
    assert page.startswith(
        "# Title\n\n```console\n.venv/bin/python benchmarks/engines.py --steps 3"
    )
    for word in ("Machine: ", "Python ", "Commit "):
        assert word in page
    assert page.endswith("| a | b |\n| --- | --- |\n| 1 | 2 |\n")
