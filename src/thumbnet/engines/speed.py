"""Measuring the speed of an engine on this machine."""

import statistics
import time

from thumbnet.data.stored import Images, UInt8Array
from thumbnet.engines.contract import Engine, prediction_batch
from thumbnet.runs.records import Speed


def measure_speed(engine: Engine, images: Images) -> Speed:
    """Measure latency for one image, and throughput for the largest batch."""
    batch, one = images[: prediction_batch(images.shape[1:])], images[:1]
    batch_seconds = statistics.median(seconds_of_answers(engine, batch, 5))
    one_seconds = statistics.median(seconds_of_answers(engine, one, 25))
    return Speed(images_per_second=len(batch) / batch_seconds, latency_ms=1000 * one_seconds)


def seconds_of_answers(engine: Engine, images: UInt8Array, times: int) -> list[float]:
    """Seconds taken by each of several predictions of the same images."""
    engine.predict(images)  # the first call with each shape compiles or allocates memory
    found = []
    for _ in range(times):
        started = time.perf_counter()
        engine.predict(images)
        found.append(time.perf_counter() - started)
    return found
