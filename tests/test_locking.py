"""Locks, on file systems with and without `flock`."""

import errno
import fcntl
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from filelock import Timeout
from PIL import Image

from thumbnet.data.dataset import Dataset
from thumbnet.data.load import load
from thumbnet.errors import JobError
from thumbnet.locking import acquire_lock, locked
from thumbnet.runs.run import Run


def forbid_flock(number: int) -> None:
    def answer(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    fcntl.flock = answer


@pytest.fixture(params=[0, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS], ids=str)
def flock_answers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The error number of `flock`; 0 if it works."""
    number: int = request.param
    monkeypatch.setattr(fcntl, "flock", fcntl.flock)  # restored at the end
    if number:
        forbid_flock(number)
    return number


def hold_forever(path: Path, number: int, held: Connection) -> None:
    if number:
        forbid_flock(number)
    lock = acquire_lock(path)
    held.send(lock.is_locked)
    signal.pause()


def test_only_one_process_holds_a_lock_and_death_releases_it(
    flock_answers: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.lock"
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=hold_forever, args=(path, flock_answers, theirs), daemon=True)
    other.start()
    assert ours.recv()
    with pytest.raises(Timeout):
        acquire_lock(path, wait=False)
    other.kill()
    other.join()
    with locked(path):
        pass
    acquire_lock(path, wait=False).release()


def test_a_run_is_held_by_one_process(flock_answers: int, tmp_path: Path) -> None:
    first, second = Run(tmp_path / "run"), Run(tmp_path / "run")
    with (
        first.lock(),
        pytest.raises(JobError, match=r"by another process, which holds .*\.lock"),
        second.lock(),
    ):
        pass
    with second.lock():
        pass
    assert Run.is_free(tmp_path / "run")


def test_images_are_decoded_without_flock(
    flock_answers: int, sample: Dataset, tmp_path: Path
) -> None:
    for number in range(8):
        path = tmp_path / "pets" / ("cat", "dog")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sample.train.images[number]).save(path)
    assert len(load(tmp_path / "pets").train) == 6
