import json
import shutil
from pathlib import Path

import pytest

from thumbnet.bench import inference
from thumbnet.bench.inference import measure_inference
from thumbnet.cli.export_tables import print_inference
from thumbnet.data.dataset import Dataset
from thumbnet.errors import JobError
from thumbnet.export import export_run
from thumbnet.runs.run import Run


def ignore(message: str) -> None:
    pass


@pytest.fixture
def exported(finished_run: Run, sample: Dataset, tmp_path: Path) -> Run:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    export_run(run, "litert", sample, ignore)
    return run


@pytest.mark.slow
def test_every_engine_is_timed(
    exported: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inference, "_STARTS", 1)
    said: list[str] = []
    rows = measure_inference(exported, said.append)
    assert [row["engine"] for row in rows] == ["keras", "litert"]
    assert said == ["run: timing keras", "run: timing litert"]
    for row in json.loads(json.dumps(rows)):
        assert list(row["images_per_second"]) == ["1", "32", "512"]
        assert min(row["images_per_second"].values()) > 0
        latency = row["latency_ms"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
        assert row["startup_seconds"] > 0
    print_inference(rows)
    shown = capsys.readouterr().out
    assert "images/s, batch 512" in shown
    assert "litert" in shown


@pytest.mark.slow
def test_an_engine_that_fails_in_a_separate_process_is_reported(
    exported: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_FIRST_PREDICTION", "raise SystemExit('no such thing')")
    with pytest.raises(JobError, match=r"engine keras failed .* no such thing"):
        measure_inference(exported, ignore)
