"""ONNX Runtime."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PredictFn
from thumbnet.engines.formats._writing import METADATA_KEY, Metadata, quiet
from thumbnet.evaluation.predictions import Float32Array

if TYPE_CHECKING:
    import keras

TARGET, MODEL = "model.onnx", ""
PACKAGE, EXTRA = "onnxruntime", "onnx"
WRITTEN_WITH = ("onnx", "tf2onnx", "onnxruntime")
QUANTIZES = True

# Calibrating in batches limits the memory for activations.
_CALIBRATION_BATCH = 50


def open_model(path: Path) -> tuple[tuple[int, int, int], PredictFn]:
    """See `thumbnet.engines.formats`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    # The log would print names from the file; errors are raised anyway.
    options.log_severity_level = 4
    # Loading from bytes refuses weights in other files, which the digest would not cover.
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


def write(
    model: "keras.Model", path: Path, metadata: Metadata, calibration: UInt8Array | None
) -> None:
    """Write an ONNX file; ONNX Runtime's static quantisation converts it to int8."""
    import onnx

    with quiet():
        model.export(path, format="onnx", verbose=False)
    if calibration is not None:
        _quantize(path, calibration)
    written = onnx.load(path)
    written.graph.name = model.name
    for value in (*written.graph.input, *written.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    entry = written.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata)
    onnx.checker.check_model(written, full_check=True)
    onnx.save(written, path)


def _quantize(path: Path, calibration: UInt8Array) -> None:
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantType,
        quantize_static,
    )

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            starts = range(0, len(calibration), _CALIBRATION_BATCH)
            self.batches = [calibration[at : at + _CALIBRATION_BATCH] for at in starts]
            self.left = iter(self.batches)

        def __len__(self) -> int:
            return len(self.batches)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.left = iter(self.batches[start_index:end_index])

        def get_next(self) -> dict[str, UInt8Array] | None:
            batch = next(self.left, None)
            return None if batch is None else {"images": batch}

    convolutions = [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]
    with quiet():
        quantize_static(
            path,
            path,
            Images(),
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            # The first convolution whitens the pixels, so that its outputs need a large dynamic
            # range. Quantising it would cause most of the accuracy loss of int8, and it is tiny.
            nodes_to_exclude=convolutions[:1],
            per_channel=True,
            # The maximum activations of a few hundred images are random. Clipping one value in ten
            # thousand changes the probabilities by a third less, for any choice of images.
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": 99.99, "CalibStridedMinMax": 1},
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Sums of 8-bit products overflow on processors without VNNI, which cost 1.9 points of
            # accuracy with 8-bit weights and nothing with 7-bit weights.
            reduce_range=True,
        )
