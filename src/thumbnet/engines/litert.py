"""LiteRT, once called TensorFlow Lite."""

import os
from pathlib import Path

from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PredictFn
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.runtime import without_notices


def open_model(path: Path) -> tuple[tuple[int, int, int], PredictFn]:
    """See `thumbnet.engines.Format.open`."""
    from ai_edge_litert.interpreter import Interpreter

    with without_notices():
        interpreter = Interpreter(str(path), num_threads=len(os.sched_getaffinity(0)))
        interpreter.allocate_tensors()  # which is when it gives notice of its delegate
    (images,), (probabilities,) = interpreter.get_input_details(), interpreter.get_output_details()
    _, height, width, channels = map(int, images["shape"])
    allocated: tuple[int, ...] = ()

    def answer(batch: UInt8Array) -> Float32Array:
        nonlocal allocated
        if batch.shape != allocated:
            interpreter.resize_tensor_input(images["index"], batch.shape)
            interpreter.allocate_tensors()
            allocated = batch.shape
        interpreter.set_tensor(images["index"], batch)
        interpreter.invoke()
        found: Float32Array = interpreter.get_tensor(probabilities["index"])
        return found

    return (height, width, channels), answer
