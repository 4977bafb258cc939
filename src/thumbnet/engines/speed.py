"""How fast an engine answers on this machine."""

import statistics
import time

from thumbnet.data.stored import Images, UInt8Array
from thumbnet.engines.contract import Engine, prediction_batch
from thumbnet.runs.records import Speed


def measure_speed(engine: Engine, images: Images) -> Speed:
    """Time an engine's answers: one image, and the largest batch that is predicted at once."""
    batch, one = images[: prediction_batch(images.shape[1:])], images[:1]
    batch_seconds = statistics.median(seconds_of_answers(engine, batch, 5))
    one_seconds = statistics.median(seconds_of_answers(engine, one, 25))
    return Speed(images_per_second=len(batch) / batch_seconds, latency_ms=1000 * one_seconds)


def seconds_of_answers(engine: Engine, images: UInt8Array, times: int) -> list[float]:
    """The seconds that each of so many answers to the same images takes."""
    engine.predict(images)  # the first call of each shape compiles, or allocates
    found = []
    for _ in range(times):
        started = time.perf_counter()
        engine.predict(images)
        found.append(time.perf_counter() - started)
    return found
