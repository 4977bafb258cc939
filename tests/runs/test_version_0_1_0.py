"""A run of version 0.1.0 can still be read.

The directory `version_0_1_0` was written by that version: the recipe of `conftest.py` with a
narrower model and two test-time views, trained on the bundled sample, then `thumbnet audit`,
`robustness`, `explain` and `export --to onnx`. Its figures, tables and checkpoints were removed.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thumbnet import InputError, build_report, open_engine, predict, resume
from thumbnet.data.dataset import Dataset
from thumbnet.runs.run import Run
from thumbnet.training.progress import SilentDisplay
from thumbnet.training.results import recompute

KEPT = Path(__file__).parent / "version_0_1_0"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(KEPT, tmp_path / "run"))


def test_the_old_run_is_small() -> None:
    assert sum(path.stat().st_size for path in KEPT.rglob("*") if path.is_file()) < 300_000


def test_every_old_record_can_be_read(run: Run) -> None:
    metrics, environment = run.metrics(), run.environment()
    assert (metrics.accuracy, metrics.test_images) == (0.241, 1_000)
    assert (metrics.tta_views, metrics.accuracy_tta) == (2, 0.23)  # test_time_views at that time
    assert environment.format_version == 1
    assert environment.versions["thumbnet"] == "0.1.0"
    assert run.recipe().augmentation.random_crop_padding == 1  # shift at that time
    assert [row.epoch for row in run.history()] == [1, 2]
    assert run.exports()["onnx"].keras_latency_ms is None
    robustness, audit, explanations = run.robustness(), run.audit(), run.explanations()
    assert robustness is not None
    assert robustness.corruptions is not None
    assert len(robustness.attacks) == 4
    assert audit is not None
    assert audit.near_duplicates == 4
    assert explanations is not None
    assert len(explanations.gallery) == 12


def test_the_old_model_predicts_as_before(run: Run, sample: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(sample.test.images[0]).save(path)
    (exported,), (keras,) = predict(run, [path]), predict(run, [path], "keras")
    assert open_engine(run).name == "onnx"
    assert exported.probabilities == pytest.approx(keras.probabilities, abs=1e-5)
    recorded, images = run.predictions(), sample.test.images[:50]
    np.testing.assert_array_equal(
        open_engine(run, "keras").predict(images).argmax(axis=1), recorded.predicted[:50]
    )


@pytest.mark.slow
def test_a_report_of_the_old_run_is_written(run: Run, sample: Dataset) -> None:
    page = build_report([run], run.report_path, sample).read_text(encoding="utf-8")
    assert "24.1%" in page
    assert "Not measured" not in page


def test_the_old_run_can_be_resumed(run: Run, sample: Dataset, small: Dataset) -> None:
    assert resume(run.path, sample, display=SilentDisplay()).path == run.path
    assert "24.10%" in run.model_card_path.read_text(encoding="utf-8")
    with pytest.raises(InputError, match="started with different images"):
        resume(run.path, small, display=SilentDisplay())


def test_the_old_metrics_can_be_computed_again(run: Run) -> None:
    before, after = run.metrics(), recompute(run)
    assert (after.tta_views, after.train_seconds) == (before.tta_views, before.train_seconds)
    assert after.confusion == before.confusion
    assert run.metrics() == after
