"""`thumbnet inspect` for runs from other people."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from anything import ANYTHING
from thumbnet.cli import app
from thumbnet.engines import file_digest
from thumbnet.errors import InputError
from thumbnet.runs.inspection import MAXIMUM_READ_BYTES, inspect_run
from thumbnet.runs.run import Run

OLD = Path(__file__).parent / "version_0_1_0"


@pytest.fixture
def run(finished_run: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))


def change_config(path: Path, config: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def config_of(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def test_a_run_is_listed_with_digests_layers_and_metrics(run: Run) -> None:
    found = inspect_run(run.path)
    files = {file.name: file for file in found.files}
    there = {str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file()}
    assert set(files) == there
    assert files["model.keras"].sha256 == file_digest(run.model_path)
    assert files["model.keras"].bytes == run.model_path.stat().st_size
    assert found.metrics == run.metrics()
    assert found.environment == run.environment()
    assert found.recipe is not None
    assert found.recipe.startswith("tiny: ann, 2 epochs, batches of 60")
    kinds = [layer.kind for layer in found.layers]
    assert kinds[0] == "InputLayer"
    assert kinds.count("Dense") == 2
    assert found.problems == []


def test_inspecting_does_not_load_the_model_or_import_keras() -> None:
    code = (
        "import sys; from thumbnet.cli import app\n"
        "app(['inspect', sys.argv[1]], standalone_mode=False)\n"
        "heavy = {'keras', 'tensorflow', 'jax', 'h5py', 'onnxruntime', 'sklearn'}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(OLD)], capture_output=True, text=True, check=True
    )
    assert "imported: []" in done.stdout
    assert "accuracy: 24.10% (95% CI 21.55% to 26.85%) on 1,000 test images" in done.stdout
    assert "format 1, Python 3.11.7, thumbnet 0.1.0" in done.stdout
    assert "problem" not in done.stdout


def test_a_layer_that_could_run_code_is_reported(run: Run) -> None:
    config = config_of(run.model_path)
    lambda_layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "\x1b[2J"}}
    config["config"]["layers"].append(lambda_layer)
    change_config(run.model_path, config)
    found = inspect_run(run.path)
    assert found.layers[-1].kind == "Lambda"
    assert found.layers[-1].name == "\\x1b[2J"
    refused, changed = found.problems
    assert "model.keras would be refused: it refers to keras.layers.Lambda" in refused
    assert "model.keras was modified" in changed


def test_links_and_huge_files_are_listed_but_not_read(run: Run) -> None:
    (run.path / "link").symlink_to("/etc/hostname")
    (run.path / "folder").symlink_to("/etc")
    os.mkfifo(run.path / "pipe")
    with open(run.path / "huge", "wb") as file:
        file.truncate(MAXIMUM_READ_BYTES + 1)
    files = {file.name: file for file in inspect_run(run.path).files}
    assert files["link"].note == "a link to /etc/hostname"
    assert files["folder"].note == "a link to /etc"
    assert files["pipe"].note == "not a regular file"
    assert files["huge"].note == "too large to read"
    assert all(files[name].sha256 is None for name in ("link", "folder", "pipe", "huge"))


def test_damaged_files_are_problems_and_the_rest_is_shown(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.metrics_path.write_text('{"accuracy": 2}', encoding="utf-8")
    run.recipe_path.unlink()
    run.model_path.write_bytes(b"PK")
    with pytest.raises(SystemExit):
        app(["inspect", str(run.path)])
    shown = capsys.readouterr().out
    assert "problem: " in shown
    assert "metrics.json is damaged" in shown
    assert "cannot read the layers" in shown
    assert "data: cifar10-sample, 10 classes: airplane" in shown
    with pytest.raises(SystemExit):
        app(["inspect", str(run.path), "--json"])
    values = json.loads(capsys.readouterr().out)
    assert values["metrics"] is None
    assert len(values["problems"]) == 3


def test_a_path_that_is_not_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a directory"):
        inspect_run(tmp_path / "nowhere")


@given(ANYTHING)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_model_configuration_is_shown_or_refused(tmp_path: Path, value: Any) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr(
            "config.json", json.dumps({"config": {"layers": [value, {"config": value}]}})
        )
    found = inspect_run(tmp_path)
    assert any("cannot read the layers" in problem for problem in found.problems)
