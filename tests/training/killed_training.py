"""Train, with SIGKILL at random moments, until the run is finished.

    python tests/killed_training.py OUT KILLS SEED

OUT/whole is the uninterrupted run, OUT/killed the killed one. Each session is a fork of this
process, so that TensorFlow is imported once. Half of the kills come at a random time, half in the
middle of a write: before a file is synced to disk, or before it is renamed.
"""

import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from thumbnet.data.dataset import Dataset
from thumbnet.data.sources.locate import load_cifar10
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras
from thumbnet.training import checkpoints, resume, train
from thumbnet.training.progress import SilentDisplay

RECIPE = {
    "name": "killed",
    "deterministic": True,
    "epochs": 12,
    "batch_size": 30,
    "validation": 0.25,
    "model": {"architecture": "ann", "widths": [16], "dropout": 0.2},
    "augmentation": {"flip": "alternating", "random_crop_padding": 1},
    "stopping": {"patience": 12},
}


def main(out: Path, kills: int, seed: int) -> None:
    generator = random.Random(seed)
    prepare_keras()
    sample = load_cifar10(source="sample")
    dataset = Dataset(
        sample.name,
        sample.class_names,
        sample.train.take(range(400)),
        sample.test.take(range(100)),
        sample.source,
    )
    _require_success(_session(out / "whole", dataset, prepare=lambda: None))
    killed = 0
    while killed < kills and not Run(out / "killed").finished:
        if killed % 2:
            writes = generator.randrange(1, 40)
            process = _session(out / "killed", dataset, prepare=partial(_die_in_write, writes))
        else:
            process = _session(out / "killed", dataset, prepare=lambda: None)
            time.sleep(generator.uniform(0.1, 4))
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if status not in (0, -signal.SIGKILL):
            sys.exit(f"a session ended with {status}")
        killed += status != 0
    _require_success(_session(out / "killed", dataset, prepare=lambda: None))
    sys.stdout.write(f"{killed}\n")


def _session(out: Path, dataset: Dataset, prepare: Callable[[], None]) -> int:
    """Fork a process that starts or resumes the run."""
    process = os.fork()
    if process:
        return process
    checkpoints.CHECKPOINT_SECONDS = 0.0  # a checkpoint after every step
    prepare()
    try:
        if Run.is_free(out):
            train(Recipe.check(RECIPE, "test"), dataset, out, display=SilentDisplay())
        else:
            resume(out, dataset, display=SilentDisplay())
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(0)


def _die_in_write(calls: int) -> None:
    """Kill this process the n-th time that a file is about to be synced to disk or renamed."""
    left = calls

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return call

    os.fsync = dying(os.fsync)
    os.replace = dying(os.replace)
    Path.replace = dying(Path.replace)  # type: ignore[method-assign]


def _require_success(process: int) -> None:
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status:
        sys.exit(f"the uninterrupted session ended with {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
