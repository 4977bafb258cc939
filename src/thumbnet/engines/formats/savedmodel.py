"""TensorFlow's SavedModel, for TensorFlow Serving; TensorFlow itself opens it here."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PredictFn
from thumbnet.engines.formats._writing import METADATA_KEY, Metadata, quiet
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras

TARGET, MODEL = "savedmodel", ""
PACKAGE, EXTRA = "tensorflow", "tensorflow"
WRITTEN_WITH = ()
QUANTIZES = False


# The operations in our exports. A SavedModel is a program, and TensorFlow would execute WriteFile
# like any other operation, so a file with other operations is not loaded. A new architecture that
# uses another operation adds it here.
_KNOWN = """
AddV2 AssignVariableOp AvgPool BiasAdd Cast ConcatV2 Const Conv2D DepthwiseConv2dNative
DisableCopyOnRead Erf Identity IdentityN MatMul Max MaxPool Mean Mul NoOp Pack Pad PadV2
PartitionedCall Placeholder ReadVariableOp RealDiv Relu Relu6 Reshape Rsqrt Select Shape
ShardedFilename Sigmoid Softmax Square SquaredDifference Squeeze StatefulPartitionedCall
StaticRegexFullMatch
StopGradient StridedSlice StringJoin Sub Sum Tanh VarHandleOp VarIsInitializedOp
"""
# Every SavedModel also contains these, in functions that prediction never calls.
_CHECKPOINT_OPERATIONS = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2"})
_SAVER = re.compile(r"__inference__traced_(save|restore)_[0-9]+")


def open_model(path: Path) -> tuple[tuple[int, int, int], PredictFn]:
    """See `thumbnet.engines.formats`.

    Raises:
        InputError: the file contains operations that are not in our exports.
    """
    prepare_keras()
    import tensorflow

    _require_known_operations(path)
    model = tensorflow.saved_model.load(str(path))
    signature = model.signatures["serving_default"]
    (images,) = signature.structured_input_signature[1].values()
    (name,) = signature.structured_outputs
    _, height, width, channels = images.shape

    def answer(batch: UInt8Array) -> Float32Array:
        return np.asarray(signature(**{images.name: tensorflow.constant(batch)})[name])

    return (height, width, channels), answer


def _require_known_operations(path: Path) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    program = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    # Without an object graph, TensorFlow would run the graph's initialisers, as in TensorFlow 1.
    if len(program.meta_graphs) != 1 or not program.meta_graphs[0].HasField("object_graph_def"):
        raise InputError("it is not a SavedModel of TensorFlow 2 with a single graph")
    (meta_graph,) = program.meta_graphs
    library = meta_graph.graph_def.library
    functions = {function.signature.name: function for function in library.function}
    found = {node.op for function in functions.values() for node in function.node_def}
    found |= {node.op for node in meta_graph.graph_def.node}
    if unknown := found - set(_KNOWN.split()) - _CHECKPOINT_OPERATIONS - functions.keys():
        raise InputError(
            f"it contains {', '.join(sorted(unknown))}, which an export of a run never does"
        )
    for name, function in functions.items():
        if any(node.op in _CHECKPOINT_OPERATIONS for node in function.node_def):
            others = [each for each in library.function if each is not function]
            _require_saver(name, [meta_graph.object_graph_def, *others, *library.gradient])


def _require_saver(name: str, others: Iterable[Any]) -> None:
    """Refuse a function that reads or writes files, unless it is an unused checkpoint function.

    TensorFlow refers to functions by name in a dozen places of these messages, so the name must
    not occur in them at all.
    """
    encoded = name.encode()
    if not _SAVER.fullmatch(name) or any(encoded in each.SerializeToString() for each in others):
        raise InputError(f"its function {name} reads or writes files")


def write(
    model: "keras.Model", path: Path, metadata: Metadata, calibration: UInt8Array | None
) -> None:
    """Write TensorFlow's SavedModel, a folder for TensorFlow Serving; int8 is not supported."""
    assert calibration is None
    with quiet():
        model.export(path, format="tf_saved_model", verbose=False)
    extra = path / "assets.extra"  # the standard place for files that the program does not read
    extra.mkdir()
    (extra / f"{METADATA_KEY}.json").write_text(json.dumps(metadata), encoding="utf-8")
