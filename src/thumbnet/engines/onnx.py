"""ONNX Runtime."""

import os
from pathlib import Path

from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PredictFn
from thumbnet.evaluation.predictions import Float32Array


def open_model(path: Path) -> tuple[tuple[int, int, int], PredictFn]:
    """See `thumbnet.engines.Format.open`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    # From bytes: it then refuses weights in other files, which the digest does not cover.
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    (images,), (probabilities,) = session.get_inputs(), session.get_outputs()
    _, height, width, channels = images.shape

    def answer(batch: UInt8Array) -> Float32Array:
        (found,) = session.run([probabilities.name], {images.name: batch})
        result: Float32Array = found
        return result

    return (height, width, channels), answer
