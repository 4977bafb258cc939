"""LiteRT, formerly TensorFlow Lite."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PredictFn
from thumbnet.engines.formats._writing import METADATA_KEY, Metadata, quiet
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.runtime import without_notices

if TYPE_CHECKING:
    import keras

TARGET, MODEL = "model.tflite", ""
PACKAGE, EXTRA = "ai_edge_litert", "litert"
WRITTEN_WITH = ()
QUANTIZES = True


def open_model(path: Path) -> tuple[tuple[int, int, int], PredictFn]:
    """See `thumbnet.engines.formats`."""
    from ai_edge_litert.interpreter import Interpreter

    with without_notices():
        interpreter = Interpreter(str(path), num_threads=len(os.sched_getaffinity(0)))
        interpreter.allocate_tensors()  # prints a notice about its delegate
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


def write(
    model: "keras.Model", path: Path, metadata: Metadata, calibration: UInt8Array | None
) -> None:
    """Write a LiteRT (TensorFlow Lite) file; TensorFlow's converter quantises to int8."""
    import tensorflow

    options: dict[str, Any] = {}
    if calibration is not None:
        options = {
            "optimizations": [tensorflow.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([image[None]] for image in calibration),
        }
    with quiet():
        model.export(path, format="litert", verbose=False, **options)
    _add_metadata(path, metadata)


def _add_metadata(path: Path, metadata: Metadata) -> None:
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    written = flatbuffer_utils.read_model(str(path))
    buffer = schema.BufferT()
    buffer.data = list(json.dumps(metadata).encode())
    written.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = METADATA_KEY, len(written.buffers) - 1
    written.metadata = [*(written.metadata or []), entry]
    flatbuffer_utils.write_model(written, str(path))
