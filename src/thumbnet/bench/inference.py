"""Inference speed of each engine of a run."""

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import TypedDict

import numpy as np

from thumbnet.data.stored import UInt8Array
from thumbnet.engines import Engine, is_installed, open_engine
from thumbnet.engines.speed import seconds_of_answers
from thumbnet.errors import JobError
from thumbnet.runs.run import Run

BATCHES = (1, 32, 512)
_REPETITIONS = {1: 200, 32: 30, 512: 7}
_STARTS = 3

# Cold start: from starting Python to the first prediction, without decoding an image.
_FIRST_PREDICTION = """
import sys
import numpy
from thumbnet.engines import open_engine
from thumbnet.runs.run import Run
engine = open_engine(Run.open(sys.argv[1]), sys.argv[2])
engine.predict(numpy.zeros((1, *engine.image_shape), numpy.uint8))
"""

Report = Callable[[str], None]


class Latency(TypedDict):
    """Percentiles of the time for one image, in milliseconds."""

    p50: float
    p95: float
    p99: float


class EngineSpeed(TypedDict):
    """The speed of an engine.

    Attributes:
        engine: keras, or the name of an export.
        images_per_second: throughput by batch size, from the median time.
        latency_ms: the time for one image.
        startup_seconds: time of a new process until its first prediction, including imports and
            loading; the median of three.
    """

    engine: str
    images_per_second: dict[str, float]
    latency_ms: Latency
    startup_seconds: float


def measure_inference(run: Run, report: Report) -> list[EngineSpeed]:
    """Time Keras, and every export of the run whose runtime is installed, one after another.

    Args:
        run: a finished run.
        report: called with a message before each measurement.

    Returns:
        One row per engine.

    Raises:
        InputError: the run cannot be used, or an export has been changed since it was written.
        JobError: an engine failed in a separate process.
    """
    names = ["keras", *(name for name in run.exports() if is_installed(name))]
    rows: list[EngineSpeed] = []
    for name in names:
        report(f"{run.name}: timing {name}")
        throughput, latency = _time_engine(open_engine(run, name))
        rows.append(
            {
                "engine": name,
                "images_per_second": throughput,
                "latency_ms": latency,
                "startup_seconds": median(_seconds_to_start(run, name) for _ in range(_STARTS)),
            }
        )
    return rows


def _time_engine(engine: Engine) -> tuple[dict[str, float], Latency]:
    """Images per second by batch size, and the latency."""
    images = _images(max(BATCHES), engine.image_shape)
    seconds = {
        size: seconds_of_answers(engine, images[:size], _REPETITIONS[size]) for size in BATCHES
    }
    p50, p95, p99 = np.percentile(seconds[1], [50, 95, 99]) * 1000
    throughput = {str(size): size / median(seconds[size]) for size in BATCHES}
    return throughput, {"p50": float(p50), "p95": float(p95), "p99": float(p99)}


def _images(count: int, shape: tuple[int, int, int]) -> UInt8Array:
    """Random pixels: the speed of an engine does not depend on the content of an image."""
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def _seconds_to_start(run: Run, name: str) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _FIRST_PREDICTION, str(run.path), name],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise JobError(f"the engine {name} failed in a separate process: {last}")
    return time.perf_counter() - started
