import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anything import ANYTHING
from thumbnet.errors import InputError
from thumbnet.runs.records import EnvironmentRecord, MetricsRecord, read_bounded_text, read_record
from thumbnet.runs.run import Run


def test_a_run_gives_back_what_it_wrote(finished_run: Run) -> None:
    written = json.loads(finished_run.metrics_path.read_text(encoding="utf-8"))
    assert finished_run.metrics() == written
    assert json.dumps(finished_run.metrics()) == json.dumps(written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": "0.9"}, "metrics.json is damaged: accuracy: "),
        ({"accuracy": 1.5}, "accuracy: Input should be less than or equal to 1"),
        ({"accuracy": True}, "accuracy: "),
        ({"parameters": -1}, "parameters: "),
        ({"log_loss": float("nan")}, "log_loss: Input should be a finite number"),
        ({"stop_reason": "\x1b[2J"}, "stop_reason: .* cannot be printed"),
        ({"run": "x" * 20_000}, "run: "),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"accuracy": 0.5} | change), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_record(path, MetricsRecord)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '"x"', "\ufeff{}"])
def test_what_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics.json is damaged"):
        read_record(path, MetricsRecord)


@given(ANYTHING, st.sampled_from(["environment", "metrics"]))
def test_any_json_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, value: Any, kind: str
) -> None:
    path = tmp_path_factory.mktemp("record") / f"{kind}.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    schema = EnvironmentRecord if kind == "environment" else MetricsRecord
    read, refusal = value, str(path)
    try:
        read = read_record(path, schema)
    except InputError as error:
        refusal = str(error)
    assert str(path) in refusal
    assert json.dumps(read) == json.dumps(value)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics.json is damaged: it holds no macro_f1"):
        read_record(path, MetricsRecord)["macro_f1"]


def test_a_text_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    with open(path, "wb") as file:
        file.truncate(65 * 2**20)
    with pytest.raises(InputError, match=r"recipe.toml is larger than the 67,108,864 bytes"):
        read_bounded_text(path)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="no UTF-8 text"):
        read_bounded_text(path)
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_bounded_text(tmp_path)
