"""Exporting a run's model to other runtimes, and checking that its predictions stay the same."""

import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from thumbnet.data.dataset import Dataset
from thumbnet.engines import (
    QUANTIZED,
    ExportedEngine,
    KerasEngine,
    export_path,
    open_keras_engine,
    open_model,
    require_runtime,
)
from thumbnet.engines.files import digests_of
from thumbnet.engines.formats import Metadata, export_format, format_names
from thumbnet.engines.probing import remember_loadable
from thumbnet.engines.speed import measure_speed
from thumbnet.errors import InputError, JobError, shown
from thumbnet.export.comparison import compare_engines
from thumbnet.export.images import ExportImages, choose_images
from thumbnet.export.prepare import prepare_for_export
from thumbnet.installing import install_command
from thumbnet.models.flops import FLOAT_BYTES
from thumbnet.record import write_record
from thumbnet.runs.records import Export, Exports
from thumbnet.runs.run import Run
from thumbnet.runtime import backend

Report = Callable[[str], None]

_WRITING = ".writing-"


def export_run(
    run: Run, to: str, dataset: Dataset | None, report: Report, quantize: bool = False
) -> Export:
    """Export a run's model, open the result in its runtime, and compare the predictions.

    Args:
        run: a finished run.
        to: the name of a format, such as "onnx", "openvino", "litert" or "savedmodel".
        dataset: the dataset of the run. Predictions are compared on its validation images, or on
            some training images if it has none. None to compare them on the bundled sample.
        report: called with progress messages.
        quantize: whether to quantise to int8, calibrated on training images.

    Returns:
        The record of this export in `exports.json`.

    Raises:
        InputError: the run cannot be used, `dataset` is not the run's, a package is missing, or
            there are no images for calibration.
        JobError: the predictions differ by more than the tolerance, int8 is not small enough, the
            conversion failed, or a file cannot be written. An earlier export is kept.
    """
    name = to + QUANTIZED * quantize
    _require_exportable(name, quantize)
    try:
        str(run.path).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"the path {shown(run.path)} is not valid UTF-8, which other runtimes cannot open; "
            "rename the directory"
        ) from error
    engine = open_keras_engine(run)
    images = choose_images(run, dataset, engine.image_shape)
    if quantize and images.calibration is None:
        raise InputError(
            f"int8 needs the training images of {run.path} for calibration; give them with --data, "
            "or run `thumbnet data fetch`"
        )
    report(f"{run.name}: writing {name}")
    with run.lock():
        try:
            run.exports_path.mkdir(exist_ok=True)
            _remove_temporary_files(run.exports_path)
            work = Path(tempfile.mkdtemp(prefix=_WRITING, dir=run.exports_path))
            work.chmod(run.exports_path.stat().st_mode)
        except OSError as error:
            raise JobError(f"cannot write {run.exports_path}: {error.strerror}") from error
        try:
            record = _export(run, name, engine, images, work, report)
        finally:
            shutil.rmtree(work, ignore_errors=True)
            if not any(run.exports_path.iterdir()):
                run.exports_path.rmdir()
    return record


def _require_exportable(name: str, quantize: bool) -> None:
    to = name.removesuffix(QUANTIZED)
    if to not in format_names():
        raise InputError(f"cannot export to {to!r}; choose from {', '.join(format_names())}")
    kind = export_format(to)
    if quantize and not kind.QUANTIZES:
        able = [each for each in format_names() if export_format(each).QUANTIZES]
        raise InputError(f"{to} cannot be quantised; export to {', '.join(able)}")
    require_runtime(name)
    missing = [package for package in kind.WRITTEN_WITH if find_spec(package) is None]
    if missing:
        remedy = f": {install_command(kind.EXTRA)}" if kind.EXTRA else ", which is not installed"
        raise InputError(f"exporting to {to} needs {', '.join(missing)}{remedy}")
    if backend() != "tensorflow":
        raise InputError(
            f"exporting requires the TensorFlow backend, but Keras uses {backend()}; set "
            "KERAS_BACKEND=tensorflow"
        )


def _export(
    run: Run, name: str, engine: KerasEngine, images: ExportImages, work: Path, report: Report
) -> Export:
    """Write to `work`, check the result, and only then move it into place."""
    quantized = name.endswith(QUANTIZED)
    source = run.metrics().model_sha256
    metadata = {
        "run": run.name,
        "class_names": list(run.class_names()),
        "image_shape": list(engine.image_shape),
        "temperature": run.temperature(),
        "source_sha256": source,
    }
    written = export_path(work, name)
    prepared = prepare_for_export(engine.model, run.temperature())
    _write(name, prepared, written, metadata, images.calibration if quantized else None)
    try:
        exported = open_model(name, written, run.class_names())
    except InputError as error:
        raise JobError(f"the export to {name} failed: {error}") from error
    report(f"{run.name}: comparing {name} with Keras on {len(images.compared):,} images")
    files = digests_of(written)
    size = sum((work / file).stat().st_size for file in files)
    shrinkage = FLOAT_BYTES * engine.model.count_params() / size
    comparison = compare_engines(engine, exported, images, shrinkage, quantized)
    if failures := comparison.failures():
        raise JobError(
            f"{run.path} was not exported to {name}: on {len(images.compared):,} images, it "
            f"exceeds the tolerance: {'; '.join(failures)}"
        )
    here = measure_speed(engine, images.compared.images)
    interval = comparison.accuracy_loss_interval
    record = Export(
        format=name.removesuffix(QUANTIZED),
        quantized="int8" if quantized else None,
        files=files,
        bytes=size,
        source_sha256=source,
        images=comparison.images,
        images_from=comparison.images_from,
        max_difference=comparison.max_difference,
        agreement=comparison.agreement,
        accuracy=comparison.accuracy,
        keras_accuracy=comparison.keras_accuracy,
        accuracy_loss_interval=[interval.low, interval.high] if interval else None,
        shrinkage=comparison.shrinkage,
        tolerance=comparison.tolerance,
        **dict(measure_speed(exported, images.compared.images)),
        # Measured again, as metrics.json has the speed right after training.
        keras_images_per_second=here.images_per_second,
        keras_latency_ms=here.latency_ms,
    )
    _move_into_place(written, export_path(run.exports_path, name))
    remember_loadable(name, export_format(name.removesuffix(QUANTIZED)).PACKAGE, files)
    write_record(run.exports_record_path, Exports(run.exports() | {name: record}))
    return record


def _write(name: str, model: Any, path: Path, metadata: Metadata, calibration: Any) -> None:
    try:
        export_format(name.removesuffix(QUANTIZED)).write(model, path, metadata, calibration)
    except OSError as error:
        raise JobError(f"cannot write {path.parent.parent}: {error.strerror or error}") from error
    except Exception as error:  # converters raise their own exceptions
        raise JobError(f"the conversion to {name} failed: {error}") from error


def _move_into_place(written: Path, target: Path) -> None:
    """Replace a file or folder; a folder briefly does not exist between two renames.

    A crash at that point is noticed because digests are checked when an export is opened.
    """
    try:
        if target.is_dir():
            target.rename(written.with_name(f"old-{target.name}"))
        written.rename(target)
    except OSError as error:
        raise JobError(f"cannot write {target}: {error.strerror or error}") from error


def _remove_temporary_files(directory: Path) -> None:
    for beside in directory.glob(f"{_WRITING}*"):
        if beside.is_dir():
            shutil.rmtree(beside)
        else:
            beside.unlink()


__all__ = ["ExportedEngine", "export_run"]
