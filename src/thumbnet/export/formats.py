"""Writing a prepared model in each format, with int8 weights and activations or without.

Every function takes the model, the file or folder to write, what to say of the model in its own
metadata, and the images to calibrate int8 on (None for float32).
"""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.data.stored import UInt8Array

if TYPE_CHECKING:
    import keras

METADATA_KEY = "thumbnet"

Metadata = Mapping[str, Any]
Write = Callable[["keras.Model", Path, Metadata, UInt8Array | None], None]

# Activations are counted a batch at a time, which bounds the memory that calibration takes.
_CALIBRATION_BATCH = 50


def write_onnx(
    model: "keras.Model", path: Path, metadata: Metadata, calibration: UInt8Array | None
) -> None:
    """An ONNX file; int8 by ONNX Runtime's static quantisation."""
    import onnx

    with _quiet():
        model.export(path, format="onnx", verbose=False)
    if calibration is not None:
        _quantize_onnx(path, calibration)
    written = onnx.load(path)
    written.graph.name = model.name
    for value in (*written.graph.input, *written.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    entry = written.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata)
    onnx.checker.check_model(written, full_check=True)
    onnx.save(written, path)


def write_openvino(
    model: "keras.Model", path: Path, metadata: Metadata, calibration: UInt8Array | None
) -> None:
    """A folder with OpenVINO's `model.xml` and `model.bin`.

    It is made from the ONNX file, which OpenVINO runs up to half as fast again as what it makes of
    the Keras model directly, and which can be quantised without a further package.
    """
    import openvino
    from openvino._offline_transformations import apply_moc_transformations

    path.mkdir()
    between = path / "model.onnx"
    write_onnx(model, between, metadata, calibration)
    # The two halves of `convert_model`, which would report its use to Intel over the network.
    converted = openvino.Core().read_model(between)
    apply_moc_transformations(converted, cf=False, smart_reshape=False)
    converted.set_rt_info(json.dumps(metadata), [METADATA_KEY])
    openvino.save_model(converted, path / "model.xml", compress_to_fp16=False)
    between.unlink()


def write_litert(
    model: "keras.Model", path: Path, metadata: Metadata, calibration: UInt8Array | None
) -> None:
    """A LiteRT (TensorFlow Lite) file; int8 by TensorFlow's own converter."""
    import tensorflow

    options: dict[str, Any] = {}
    if calibration is not None:
        options = {
            "optimizations": [tensorflow.lite.Optimize.DEFAULT],
            "representative_dataset": lambda: ([image[None]] for image in calibration),
        }
    with _quiet():
        model.export(path, format="litert", verbose=False, **options)
    _add_litert_metadata(path, metadata)


def write_savedmodel(
    model: "keras.Model", path: Path, metadata: Metadata, calibration: UInt8Array | None
) -> None:
    """TensorFlow's SavedModel, a folder, which TensorFlow Serving takes; there is no int8 of it."""
    assert calibration is None
    with _quiet():
        model.export(path, format="tf_saved_model", verbose=False)
    extra = path / "assets.extra"  # the format's own place for what the program does not read
    extra.mkdir()
    (extra / f"{METADATA_KEY}.json").write_text(json.dumps(metadata), encoding="utf-8")


WRITERS: dict[str, Write] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "litert": write_litert,
    "savedmodel": write_savedmodel,
}
# What writing needs beside what opening the result does.
NEEDED = {
    "onnx": ("onnx", "tf2onnx", "onnxruntime"),
    "openvino": ("onnx", "tf2onnx", "onnxruntime", "openvino"),
    "litert": (),
    "savedmodel": (),
}


def _quantize_onnx(path: Path, calibration: UInt8Array) -> None:
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
    with _quiet():
        quantize_static(
            path,
            path,
            Images(),
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            # The first whitens the pixels, so faint ones count as much as strong ones, which 8 bits
            # cannot hold both of: it would cost most of what int8 costs, and is tiny.
            nodes_to_exclude=convolutions[:1],
            per_channel=True,
            # The largest activations of a few hundred images are a matter of chance; clipping one
            # in ten thousand moves the probabilities a third less, whichever images are drawn.
            calibrate_method=CalibrationMethod.Percentile,
            extra_options={"CalibPercentile": 99.99, "CalibStridedMinMax": 1},
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Sums of 8-bit products overflow on processors without VNNI: it cost 1.9 points of
            # accuracy with 8-bit weights, and none with 7-bit ones.
            reduce_range=True,
        )


def _add_litert_metadata(path: Path, metadata: Metadata) -> None:
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep converters from talking: whether they did their work is found out by opening it."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
