import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from thumbnet.cli import app
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.runs.run import Run


@pytest.fixture(scope="module")
def run(finished_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose images, the bundled sample, are available."""
    return Run(Path(shutil.copytree(finished_run.path, tmp_path_factory.mktemp("runs") / "run")))


def test_export_shows_the_comparison_and_predict_uses_it(
    run: Run, sample: Dataset, tmp_path: Path
) -> None:
    done = CliRunner().invoke(app, ["export", str(run.path), "--to", "onnx"])
    assert done.exit_code == 0, done.output
    assert "same prediction" in done.stdout
    assert "compared on 1,250 validation images" in done.stdout
    record = run.exports()["onnx"]
    speeds = next(line.split() for line in done.stdout.splitlines() if "images/s" in line)
    assert speeds[1] == f"{record.keras_images_per_second:,.0f}"
    assert speeds[3] == f"{record.images_per_second:,.0f}"
    assert "model.onnx" in done.stdout.splitlines()[-1]
    path = tmp_path / "one.png"
    Image.fromarray(sample.test.images[0]).save(path)
    answers = [
        json.loads(
            CliRunner()
            .invoke(app, ["predict", str(run.path), str(path), "--json", "--engine", engine])
            .stdout
        )
        for engine in ("onnx", "keras")
    ]
    assert answers[0][0]["class_name"] == answers[1][0]["class_name"]
    assert answers[0][0]["probability"] == pytest.approx(answers[1][0]["probability"], abs=1e-5)


@pytest.mark.slow
def test_export_prints_its_record(run: Run) -> None:
    done = CliRunner().invoke(app, ["export", str(run.path), "--to", "litert", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == run.exports()["litert"].model_dump(mode="json")


def test_an_unknown_format_is_refused(run: Run) -> None:
    done = CliRunner().invoke(app, ["export", str(run.path), "--to", "coreml"])
    assert isinstance(done.exception, InputError)
    assert "choose from litert, onnx, openvino, savedmodel" in str(done.exception)
