"""TensorFlow's SavedModel, for TensorFlow Serving; here it is opened by TensorFlow itself."""

from pathlib import Path

import numpy as np

from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PredictFn
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.runtime import prepare_keras

# What our exports are made of. A SavedModel is a program: TensorFlow would carry out WriteFile as
# readily as an addition, so a file that holds anything else is not loaded. A new architecture that
# uses another operation adds it here.
_KNOWN = """
AddV2 AssignVariableOp AvgPool BiasAdd Cast ConcatV2 Const Conv2D DepthwiseConv2dNative
DisableCopyOnRead Erf Identity IdentityN MatMul Max MaxPool Mean Mul NoOp Pack Pad PadV2
PartitionedCall Placeholder ReadVariableOp RealDiv Relu Reshape Rsqrt Select Shape ShardedFilename
Sigmoid Softmax Square SquaredDifference Squeeze StatefulPartitionedCall StaticRegexFullMatch
StopGradient StridedSlice StringJoin Sub Sum Tanh VarHandleOp VarIsInitializedOp
"""
# Every SavedModel holds these as well, in functions that answering never calls.
_CHECKPOINT_OPERATIONS = frozenset({"MergeV2Checkpoints", "RestoreV2", "SaveV2"})


def open_model(path: Path) -> tuple[tuple[int, int, int], PredictFn]:
    """See `thumbnet.engines.Format.open`.

    Raises:
        InputError: the file holds operations that no export of ours does.
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
    for meta_graph in program.meta_graphs:
        functions = {
            function.signature.name: function.node_def
            for function in meta_graph.graph_def.library.function
        }
        found = {node.op for nodes in functions.values() for node in nodes}
        found |= {node.op for node in meta_graph.graph_def.node}
        if unknown := found - set(_KNOWN.split()) - _CHECKPOINT_OPERATIONS - functions.keys():
            raise InputError(
                f"it holds {', '.join(sorted(unknown))}, which no export of a run does"
            )
        called = set(meta_graph.object_graph_def.concrete_functions)
        called |= {node.op for nodes in functions.values() for node in nodes}
        called |= {node.attr["f"].func.name for nodes in functions.values() for node in nodes}
        for name in called & functions.keys():
            if any(node.op in _CHECKPOINT_OPERATIONS for node in functions[name]):
                raise InputError(f"its function {name} reads or writes files")
