"""The description of the machine; measurements are only checked for plausibility."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from thumbnet import machine
from thumbnet.cli import app


@pytest.fixture(autouse=True)
def _small_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SGEMM_SIZE", 256)
    monkeypatch.setattr(machine, "TRIAD_VALUES", 100_001)


def test_the_rate_counts_two_operations_per_multiply_add(monkeypatch: pytest.MonkeyPatch) -> None:
    def half_a_second(work: object) -> float:
        return 0.5

    monkeypatch.setattr(machine, "_seconds", half_a_second)
    assert machine.sgemm_gflops() == pytest.approx(2 * 256**3 / 0.5 / 1e9)


def test_a_slow_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def ten_seconds(work: object) -> float:
        runs.append(work)
        return 10.0

    monkeypatch.setattr(machine, "_seconds", ten_seconds)
    machine.sgemm_gflops()
    assert len(runs) == 1


def test_triad_covers_every_value(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
    full = np.full

    def keep(*arguments: object) -> object:
        made.append(full(*arguments))  # type: ignore[call-overload]
        return made[-1]

    monkeypatch.setattr(np, "full", keep)
    assert machine.triad_bandwidth() > 0
    assert (made[0] == 4).all()  # 3 · 1 + 1 everywhere, also at the chunk boundaries


def test_the_command_prints_the_measurements_and_the_number_of_threads() -> None:
    result = CliRunner().invoke(app, ["bench", "machine", "--json"])
    found = json.loads(result.output)
    assert found["sgemm_gflops"] > 0
    assert found["bandwidth_gb_per_second"] > 0
    assert 1 <= found["threads"] <= found["cores"]
    assert found["blas_threads"] >= 1
    shown = CliRunner().invoke(app, ["bench", "machine"]).output
    assert found["processor"] in shown
    assert found["blas"] in shown
    assert "GFLOP/s" in shown
