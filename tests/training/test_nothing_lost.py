"""Runs survive failures of the machine during training."""

import contextlib
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobError
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.training import resume, train
from thumbnet.training.progress import SilentDisplay

KILLED_TRAINING = Path(__file__).parent / "killed_training.py"


class At(SilentDisplay):
    """Acts at one step."""

    def __init__(self, at_step: int) -> None:
        self.at_step = at_step

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        if step == self.at_step:
            self.act()

    def act(self) -> None:
        raise NotImplementedError


class FillDisk(At):
    """From this step on, no file can grow beyond 100 bytes, as on a full disk."""

    def act(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))


class LackMemory(At):
    """Allocates an array that does not fit in memory."""

    def act(self) -> None:
        np.empty(2**60, np.uint8)


@contextlib.contextmanager
def room_again() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def history_without_times(run: Run) -> list[dict[str, float]]:
    timed = ("seconds", "images_per_second")
    return [{k: v for k, v in row.values().items() if k not in timed} for row in run.history()]


@pytest.mark.slow
def test_a_run_that_is_killed_repeatedly_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, KILLED_TRAINING, tmp_path, "6", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    whole, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    np.testing.assert_array_equal(
        killed.predictions().probabilities, whole.predictions().probabilities
    )
    assert history_without_times(killed) == history_without_times(whole)
    last = [max(run.checkpoints_path.glob("step-*.npz")) for run in (killed, whole)]
    with np.load(last[0]) as first, np.load(last[1]) as second:
        assert first.keys() == second.keys()
        for name in first.keys() - {"state", "digest"}:
            np.testing.assert_array_equal(first[name], second[name])
    assert not list(tmp_path.rglob(".writing-*"))


@pytest.mark.slow
def test_a_run_can_be_resumed_after_a_full_disk(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    with room_again(), pytest.raises(JobError, match=r"cannot write .*; continue with .*--resume"):
        train(tiny_recipe, small, tmp_path / "run", display=FillDisk(6))
    run = Run.open(tmp_path / "run")
    assert [path.name for path in run.checkpoints_path.iterdir()] == ["step-000000005.npz"]
    assert resume(run, small, display=SilentDisplay()).metrics().steps == 10


@pytest.mark.slow
def test_a_run_can_be_resumed_after_running_out_of_memory(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match=r"out of memory: .*--resume .*smaller batch_size"):
        train(tiny_recipe, small, tmp_path / "run", display=LackMemory(6))
    assert resume(tmp_path / "run", small, display=SilentDisplay()).metrics().steps == 10


def test_a_directory_that_cannot_be_written_is_named(tiny_recipe: Recipe, small: Dataset) -> None:
    out = Path("/proc/thumbnet-run")
    if not out.parent.is_dir():
        pytest.skip("no /proc here")
    with pytest.raises(JobError, match=r"cannot write /proc/thumbnet-run"):
        train(tiny_recipe, small, out, display=SilentDisplay())


@pytest.mark.slow
def test_after_a_nan_loss_a_run_can_be_resumed_with_a_lower_learning_rate(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override(
        {"optimizer.name": "sgd", "optimizer.learning_rate": 1e30, "schedule.decay": "constant"}
    )
    with pytest.raises(JobError, match=r"loss became (nan|inf) in step \d+; .* --set; continue"):
        train(recipe, small, tmp_path / "run", display=SilentDisplay())
    settings = {"optimizer.learning_rate": 0.01}
    run = resume(tmp_path / "run", small, display=SilentDisplay(), settings=settings)
    assert run.metrics().steps == 10
    assert run.recipe().optimizer.learning_rate == 0.01
    assert run.environment().changed_on_resuming == [settings]


def test_only_resumable_settings_can_be_changed_when_resuming(finished_run: Run) -> None:
    with pytest.raises(InputError, match=r"batch_size cannot be changed when a run is resumed"):
        resume(finished_run, None, display=SilentDisplay(), settings={"batch_size": 7})  # type: ignore[arg-type]


@pytest.mark.slow
def test_two_processes_cannot_train_the_same_run(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(JobError):
        train(tiny_recipe, small, tmp_path / "run", display=LackMemory(2))
    run = Run.open(tmp_path / "run")
    with run.lock(), pytest.raises(JobError, match="is being trained by another process"):
        resume(run, small, display=SilentDisplay())
    assert resume(run, small, display=SilentDisplay()).finished


def test_the_remains_of_a_killed_start_do_not_block_a_new_run(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with Run(out).lock():
        (out / ".writing-recipe-abc.toml").touch()
        (out / "environment.json").touch()
    with pytest.raises(InputError, match=r"is not a run directory: it has no recipe\.toml"):
        Run.open(out)
    assert train(tiny_recipe.override({"epochs": 1}), small, out, display=SilentDisplay()).finished
    assert not list(out.glob(".writing-*"))
