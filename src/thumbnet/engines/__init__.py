"""A common interface to a run's model in Keras or in another runtime.

`thumbnet export` writes the exported models; `formats` opens each in its own runtime.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import numpy as np

from thumbnet.engines.contract import PREDICTION_BATCH as PREDICTION_BATCH
from thumbnet.engines.contract import Engine as Engine
from thumbnet.engines.contract import ExportedEngine as ExportedEngine
from thumbnet.engines.contract import in_batches as in_batches
from thumbnet.engines.contract import prediction_batch as prediction_batch
from thumbnet.engines.files import digests_of
from thumbnet.engines.files import file_digest as file_digest
from thumbnet.engines.formats import export_format, format_names
from thumbnet.engines.keras import KerasEngine as KerasEngine
from thumbnet.engines.keras import open_keras_engine as open_keras_engine
from thumbnet.engines.probing import require_loadable
from thumbnet.errors import InputError, quoted
from thumbnet.installing import install_command
from thumbnet.runs.run import Run
from thumbnet.runtime import backend, is_backend_installed

QUANTIZED = "-int8"


# Chosen by default: they predict the same as Keras and do not import TensorFlow. Ordered by speed
# in `thumbnet bench inference` on two AVX2 cores, mainly for single images.
_DEFAULTS = ("litert", "openvino", "onnx")
_LONGEST_REASON = 500
"""Characters of a runtime's error that a message repeats."""


def open_engine(run: Run, name: str | None = None) -> Engine:
    """Open the engine of a finished run.

    Args:
        run: a finished run.
        name: "keras", or the name of an export: "onnx", "openvino", "litert" or "savedmodel",
            with "-int8" appended if it is quantised. By default, the fastest unquantised export
            whose runtime is installed, or else Keras.

    Raises:
        InputError: the run has not finished, the export does not exist, its runtime is not
            installed, or its files were modified.
    """
    if name is None:
        name = default_engine(run)
        if name == "keras" and not is_backend_installed():
            _refuse_without_export(run)
    return open_keras_engine(run) if name == "keras" else _open_export(run, name)


def _refuse_without_export(run: Run) -> NoReturn:
    to = next(filter(is_installed, _DEFAULTS), _DEFAULTS[0])
    exports = ", ".join(run.exports()) or "no exports"
    raise InputError(
        f"{run.path} has {exports} and a {backend()} model, none of which can be opened "
        f"here: where it was trained, `thumbnet export {quoted(run.path)} --to {to}`; or "
        f"{install_command('tensorflow')}"
    )


def default_engine(run: Run) -> str:
    """The name of the engine that `open_engine` uses by default."""
    exports = run.exports()
    return next((name for name in _DEFAULTS if name in exports and is_installed(name)), "keras")


def is_installed(name: str) -> bool:
    """Whether the runtime of an export is installed."""
    to = name.removesuffix(QUANTIZED)
    return to in format_names() and find_spec(export_format(to).PACKAGE) is not None


def export_path(directory: Path, name: str) -> Path:
    """The file or folder of the export `name` in `directory`, which need not exist."""
    target = Path(export_format(name.removesuffix(QUANTIZED)).TARGET)
    return directory / (target.stem + name[len(name.removesuffix(QUANTIZED)) :] + target.suffix)


def open_model(name: str, path: Path, class_names: tuple[str, ...]) -> ExportedEngine:
    """Open an exported model in its runtime, without checking its digests.

    Raises:
        InputError: the runtime is not installed, or cannot open the file.
    """
    kind = export_format(name.removesuffix(QUANTIZED))
    require_runtime(name)
    model = path / kind.MODEL
    try:
        image_shape, predict_batch = kind.open_model(model)
        classes = predict_batch(np.zeros((1, *image_shape), np.uint8)).shape[-1]
    except Exception as error:  # each runtime raises its own exceptions
        reason = " ".join(str(error).split())[:_LONGEST_REASON]  # some have many lines
        raise InputError(f"{model} cannot be opened by {kind.PACKAGE}: {reason}") from error
    if classes != len(class_names):
        raise InputError(
            f"{model} has {classes} classes, but the run has {len(class_names)}; export the run "
            "again"
        )
    return ExportedEngine(name, model, image_shape, class_names, predict_batch)


def require_runtime(name: str) -> None:
    """Check that the runtime of an export is installed.

    Raises:
        InputError: it is not; the message says how to install it.
    """
    kind = export_format(name.removesuffix(QUANTIZED))
    if not is_installed(name):
        remedy = f": {install_command(kind.EXTRA)}" if kind.EXTRA else ", which is not installed"
        raise InputError(f"the engine {name} needs {kind.PACKAGE}{remedy}")


def _open_export(run: Run, name: str) -> Engine:
    exports = run.exports()
    if name not in exports:
        there = ", ".join(("keras", *exports))
        raise InputError(
            f"{run.path} has no engine {name!r}; choose from {there}, or make another with "
            f"`thumbnet export {quoted(run.path)}`"
        )
    path, recorded = export_path(run.exports_path, name), exports[name]
    if recorded.source_sha256 != run.metrics().model_sha256:
        raise InputError(f"{path} was exported from a different model; export {run.path} again")
    if digests_of(path) != recorded.files:
        raise InputError(
            f"{path} was modified after the export: its SHA-256 differs from that in "
            f"{run.exports_record_path.name}; export {run.path} again"
        )
    package = export_format(name.removesuffix(QUANTIZED)).PACKAGE
    require_runtime(name)
    require_loadable(name, package, path, run.class_names(), recorded.files)
    return open_model(name, path, run.class_names())
