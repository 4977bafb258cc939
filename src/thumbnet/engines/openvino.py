"""OpenVINO."""

import os
from pathlib import Path

from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PredictFn
from thumbnet.evaluation.predictions import Float32Array


def open_model(path: Path) -> tuple[tuple[int, int, int], PredictFn]:
    """See `thumbnet.engines.Format.open`."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
        "PERFORMANCE_HINT": "LATENCY",
        # Processors with bfloat16 units would compute in that by default.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    model = openvino.Core().compile_model(path, "CPU", settings)
    _, *sizes = model.input(0).partial_shape  # the first is that of a batch, and may be any
    height, width, channels = (size.get_length() for size in sizes)
    request = model.create_infer_request()

    def answer(batch: UInt8Array) -> Float32Array:
        # The result is the runtime's own memory, which the next batch overwrites.
        probabilities: Float32Array = request.infer({0: batch})[0].copy()
        return probabilities

    return (height, width, channels), answer
