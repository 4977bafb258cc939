"""Keras callbacks, in Python and as `--log`, around Thumbnet's own training loop."""

import csv
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from thumbnet.cli import main
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobError
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras
from thumbnet.training import resume, train
from thumbnet.training.progress import SilentDisplay

keras = prepare_keras()
STEPS = 5  # in each of the two epochs of the tiny recipe, on the small dataset


class Listening(keras.callbacks.Callback):  # type: ignore[misc, name-defined]
    """Records every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.logs: dict[str, dict[str, float]] = {}

    def _note(self, call: str, logs: dict[str, float] | None) -> None:
        self.calls.append(call)
        self.logs[call] = dict(logs or {})

    def on_train_begin(self, logs: Any = None) -> None:
        self._note("train begins", logs)

    def on_train_end(self, logs: Any = None) -> None:
        self._note("train ends", logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._note(f"epoch {epoch} begins", logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._note(f"epoch {epoch} ends", logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._note(f"batch {batch} begins", logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._note(f"batch {batch} ends", logs)


def epoch_calls(epoch: int, first_step: int = 0) -> list[str]:
    steps = range(first_step, STEPS)
    batches = [f"batch {step} {what}" for step in steps for what in ("begins", "ends")]
    return [f"epoch {epoch} begins", *batches, f"epoch {epoch} ends"]


def test_callbacks_are_called_as_keras_calls_them(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    listening = Listening()
    file = tmp_path / "log.csv"
    callbacks = [listening, keras.callbacks.CSVLogger(file)]
    run = train(tiny_recipe, small, tmp_path / "run", callbacks=callbacks, display=SilentDisplay())
    expected = ["train begins", *epoch_calls(0), *epoch_calls(1), "train ends"]
    assert listening.calls == expected
    assert listening.params == {"verbose": 0, "epochs": 2, "steps": STEPS}
    last, row = listening.logs["epoch 1 ends"], run.history()[-1]
    assert last == pytest.approx(
        {
            "loss": row.loss,
            "accuracy": row.accuracy,
            "val_loss": row.validation_loss,
            "val_accuracy": row.validation_accuracy,
            "learning_rate": row.learning_rate,
        }
    )
    assert listening.logs["train ends"] == last
    assert listening.logs["batch 4 ends"] == {"loss": last["loss"], "accuracy": last["accuracy"]}
    with open(file, encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert [float(row["val_accuracy"]) for row in rows] == pytest.approx(
        [row.validation_accuracy for row in run.history()]
    )


@pytest.mark.slow
def test_a_callback_that_stops_the_training_ends_the_run(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override({"epochs": 50})
    stopping = keras.callbacks.EarlyStopping("loss", min_delta=10, patience=1)
    run = train(recipe, small, tmp_path / "run", callbacks=[stopping], display=SilentDisplay())
    assert run.finished
    assert run.metrics().stop_reason == "stopped by a callback in epoch 2"
    assert len(run.history()) == 2

    def stop(batch: int, logs: object) -> None:
        if batch == 2:
            within.model.stop_training = True

    within = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    run = train(recipe, small, tmp_path / "within", callbacks=[within], display=SilentDisplay())
    assert [row.step for row in run.history()] == [3]
    assert run.metrics().stop_reason == "stopped by a callback in epoch 1"


@pytest.mark.slow
def test_a_resumed_run_calls_callbacks_from_the_step_where_it_resumes(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    def interrupt(batch: int, logs: object) -> None:
        if batch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    pressing = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    listening = Listening()
    with pytest.raises(JobError, match="interrupted after 3 steps"):
        train(
            tiny_recipe, small, tmp_path / "run", callbacks=[pressing, listening],
            display=SilentDisplay(),
        )  # fmt: skip
    assert listening.calls[-2:] == ["batch 2 ends", "train ends"]
    again = Listening()
    resume(tmp_path / "run", small, callbacks=[again], display=SilentDisplay())
    assert again.calls == ["train begins", *epoch_calls(0, 3), *epoch_calls(1), "train ends"]


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
        keras.callbacks.ReduceLROnPlateau(),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_a_callback_that_the_schedule_would_override_is_refused(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path, callback: object
) -> None:
    with pytest.raises(InputError, match=f"{type(callback).__name__} would have no effect"):
        train(tiny_recipe, small, tmp_path / "run", callbacks=[callback], display=SilentDisplay())


def thumbnet(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["thumbnet", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.slow
def test_tensorboard_reads_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", exc_type=ImportError
    )
    from tensorboard.util import tensor_util as tensors

    out = tmp_path / "run"
    command = ["train", "ann", "--source", "sample", "--out", out, "--set", "model.widths=[8]"]
    assert thumbnet(*command, "--epochs", 2, "--log", "tensorboard", monkeypatch=monkeypatch) == 0
    for part, scalar, column in (
        ("train", "epoch_loss", "loss"),
        ("validation", "epoch_accuracy", "validation_accuracy"),
    ):
        events = accumulators.EventAccumulator(str(out / "tensorboard" / part))
        events.Reload()
        values = [
            float(tensors.make_ndarray(event.tensor_proto)) for event in events.Tensors(scalar)
        ]
        assert values == pytest.approx([getattr(row, column) for row in Run.open(out).history()])


TRACKIO = """
import json, sys
def write(*event):
    with open(__file__ + ".log", "a") as file:
        print(json.dumps(event), file=file)
def init(project, name, config): write("init", project, name, config["epochs"])
def log(metrics): write("log", metrics)
def finish(): write("finish")
"""


@pytest.mark.slow
def test_a_tracker_without_a_keras_callback_gets_every_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "packages" / "trackio.py"
    module.parent.mkdir()
    module.write_text(TRACKIO, encoding="utf-8")
    monkeypatch.syspath_prepend(module.parent)
    out = tmp_path / "seeds"
    command = ["train", "ann", "--source", "sample", "--out", out, "--set", "model.widths=[8]"]
    command += ["--epochs", 1, "--log", "trackio", "--seeds", 2]
    assert thumbnet(*command, monkeypatch=monkeypatch) == 0
    log = (module.parent / "trackio.py.log").read_text(encoding="utf-8").splitlines()
    assert [line.partition(",")[0].strip('["]') for line in log] == ["init", "log", "finish"] * 2
    assert '"seed-1"' in log[3]
    assert '"val_accuracy"' in log[4]


@pytest.mark.parametrize(
    ("tracker", "sentence"),
    [
        ("mlflow", "--log mlflow needs mlflow, which is not installed: "),
        ("paper", "--log paper: choose from tensorboard, mlflow, wandb, trackio"),
    ],
)
def test_a_missing_tracker_is_reported_before_training(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tracker: str,
    sentence: str,
) -> None:
    monkeypatch.setattr("thumbnet.training.loggers.find_spec", lambda name: None)
    command = ["train", "ann", "--source", "sample", "--out", tmp_path / "run", "--log", tracker]
    assert thumbnet(*command, monkeypatch=monkeypatch) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
