import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anything import ANYTHING
from thumbnet.errors import InputError
from thumbnet.record import read_bounded_text, read_record, write_record
from thumbnet.runs.records import FORMAT_VERSION, Environment, Metrics
from thumbnet.runs.run import Run


@pytest.mark.slow
def test_records_are_read_as_they_were_written(finished_run: Run) -> None:
    written = json.loads(finished_run.metrics_path.read_text(encoding="utf-8"))
    assert json.dumps(finished_run.metrics().model_dump()) == json.dumps(written)


@pytest.fixture
def values(finished_run: Run) -> dict[str, Any]:
    return finished_run.metrics().model_dump()


def read_metrics(path: Path, values: Any) -> Metrics:
    path = path / "metrics.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return read_record(path, Metrics)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": "0.9"}, "metrics.json is damaged: accuracy: "),
        ({"accuracy": 1.5}, "accuracy: Input should be less than or equal to 1"),
        ({"accuracy": True}, "accuracy: "),
        ({"parameters": -1}, "parameters: "),
        ({"log_loss": float("nan")}, "log_loss: Input should be a finite number"),
        ({"stop_reason": "\x1b[2J"}, "stop_reason: contains characters that cannot be printed"),
        ({"run": "x" * 20_000}, "run: "),
        ({"unknown": float("inf")}, "unknown.float: Input should be a finite number"),
        ({"\x1b[2J": 1}, r"'\\x1b\[2J': contains characters that cannot be printed"),
    ],
)
def test_an_invalid_value_is_named(
    tmp_path: Path, values: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_metrics(tmp_path, values | change)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_a_missing_key_is_named(tmp_path: Path, values: dict[str, Any]) -> None:
    del values["macro_f1"]
    with pytest.raises(InputError, match=r"metrics.json is damaged: it has no macro_f1"):
        read_metrics(tmp_path, values)


def test_a_key_of_a_newer_version_is_kept(tmp_path: Path, values: dict[str, Any]) -> None:
    newer = {"energy": {"joules": [1.5, None]}}
    metrics = read_metrics(tmp_path, values | newer)
    write_record(tmp_path / "again.json", metrics)
    assert json.loads((tmp_path / "again.json").read_text(encoding="utf-8")) == values | newer


def test_a_misspelt_metric_is_an_attribute_error(finished_run: Run) -> None:
    with pytest.raises(AttributeError, match="acuracy"):
        _ = finished_run.metrics().acuracy  # type: ignore[attr-defined]


def test_a_run_of_a_newer_format_is_refused(finished_run: Run, tmp_path: Path) -> None:
    environment = finished_run.environment()
    assert environment.format_version == FORMAT_VERSION
    newer = environment.model_copy(update={"format_version": FORMAT_VERSION + 1})
    write_record(tmp_path / "environment.json", newer)
    with pytest.raises(InputError, match="only a newer version of Thumbnet can read"):
        Run(tmp_path).environment()


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, '"x"', "\ufeff{}"])
def test_json_that_is_not_an_object_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"metrics.json is damaged"):
        read_record(path, Metrics)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_is_preserved_or_refused(
    tmp_path: Path, finished_run: Run, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from([Environment, Metrics]))
    whole = finished_run.environment() if kind is Environment else finished_run.metrics()
    values = whole.model_dump()
    values[data.draw(st.sampled_from([*values, "other"]))] = data.draw(ANYTHING)
    path = tmp_path / "record.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    kept, refusal = values, str(path)
    try:
        kept = read_record(path, type(whole)).model_dump()
    except InputError as error:
        refusal = str(error)
    assert str(path) in refusal
    assert kept == values


@given(ANYTHING)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_read_or_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InputError, match=r"metrics.json is damaged"):
        read_metrics(tmp_path, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,loss\n1,nan\n", "loss: Input should be a finite number"),
        ("epoch,loss\n1e308,1\n", "epoch: "),
        ("epoch,loss\n1,high\n", "loss: Input should be a valid number"),
        ("loss\n1\n", "it has no epoch"),
        ("epoch\n1\n", "it has no loss"),
        ("epoch,loss\n1,1,1\n", "history.csv is damaged"),
        ('epoch,loss\n1,"\n', "loss: "),
    ],
)
def test_a_damaged_history_is_refused(tmp_path: Path, text: str, message: str) -> None:
    run = Run(tmp_path)
    run.history_path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        run.history()


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = Run(tmp_path)
    rows = [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 2.0, "top_3": 0.25}]
    run.write_history(rows)
    history = run.history()
    assert [row.values() for row in history] == rows
    assert history[0].accuracy is None
    assert history.columns() == ["epoch", "loss", "top_3"]
    assert history.series("top_3") == ([2], [0.25])


def test_the_size_of_text_files_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    with open(path, "wb") as file:
        file.truncate(9 * 2**20)
    with pytest.raises(InputError, match=r"recipe.toml is larger than the 8,388,608 bytes"):
        read_bounded_text(path)
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_bounded_text(path)
    with pytest.raises(InputError, match="is not a regular file"):
        read_bounded_text(tmp_path)
