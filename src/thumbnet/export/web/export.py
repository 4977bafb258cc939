"""Exporting a run to a web page and checking it: `thumbnet export RUN --to web`."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from thumbnet.atomic import replacing_path
from thumbnet.data.dataset import Dataset
from thumbnet.engines import open_keras_engine
from thumbnet.errors import InputError, JobError
from thumbnet.export.images import choose_images
from thumbnet.export.prepare import prepare_for_export
from thumbnet.export.web import write_web
from thumbnet.export.web.check import find_browser, predict_in_browser
from thumbnet.record import Amount, Count, Fraction, Record, Text, write_record
from thumbnet.runs.run import Run
from thumbnet.runtime import backend

CHECKED_IMAGES = 500
MAXIMUM_DIFFERENCE = 0.02
"""Maximum difference of a probability, with weights in float16."""
MINIMUM_AGREEMENT = {"float16": 0.98, "int8": 0.95}
"""Fraction of images with the same most probable class, by data type of the weights."""


class WebExport(Record):
    """`web.json`: an exported page compared with Keras on the same images.

    Attributes:
        path: the page.
        bytes: its size.
        images: number of images that both classified.
        images_from: a description of these images.
        max_difference: maximum absolute difference between probabilities.
        agreement: fraction of images with the same most probable class.
        images_per_second: throughput of the browser on this machine.
    """

    path: Text
    bytes: Count
    images: Count
    images_from: Text
    max_difference: Fraction
    agreement: Fraction
    images_per_second: Amount


def export_web(
    run: Run, dataset: Dataset | None, report: Callable[[str], None], quantize: bool = False
) -> WebExport:
    """Write `exports/model.html`, open it in a headless browser and compare it with Keras.

    Args:
        run: a finished run.
        dataset: as in `thumbnet.export.export_run`.
        report: called with progress messages.
        quantize: whether to store the weights in 8 bits, half the size of float16; then only the
            agreement is checked.

    Raises:
        InputError: no browser is installed, `dataset` is not the run's, Keras does not use
            TensorFlow, or the page does not support a layer of the model.
        JobError: the predictions of the page exceed the tolerance, or a file cannot be written. An
            earlier page is kept.
    """
    find_browser()
    if backend() != "tensorflow":
        raise InputError(
            f"exporting requires the TensorFlow backend, but Keras uses {backend()}; set "
            "KERAS_BACKEND=tensorflow"
        )
    engine = open_keras_engine(run)
    images = choose_images(run, dataset, engine.image_shape)
    pixels = np.asarray(
        images.compared.take(range(min(CHECKED_IMAGES, len(images.compared)))).images
    )
    target = run.exports_path / "model.html"
    with run.lock(), tempfile.TemporaryDirectory() as folder:
        report(f"{run.name}: writing a web page")
        page = Path(folder) / target.name
        metadata = {
            "class_names": run.class_names(),
            "image_shape": engine.image_shape,
            "title": f"What does {run.name} see?",
            "about": _about(run),
        }
        write_web(prepare_for_export(engine.model, run.temperature()), page, metadata, quantize)
        report(f"{run.name}: comparing it with Keras on {len(pixels):,} images in a browser")
        found, seconds = predict_in_browser(page, pixels)
        expected = engine.predict(pixels)
        record = WebExport(
            path=target.name,
            bytes=page.stat().st_size,
            images=len(pixels),
            images_from=images.words,
            max_difference=float(np.abs(found - expected).max()),
            agreement=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
            images_per_second=len(pixels) / seconds,
        )
        _require_agreement(record, run, quantize)
        try:
            run.exports_path.mkdir(exist_ok=True)
            with replacing_path(target) as place:
                place.write_bytes(page.read_bytes())
        except OSError as error:
            raise JobError(f"cannot write {target}: {error.strerror}") from error
        write_record(run.exports_path / "web.json", record)
    return record


def _about(run: Run) -> str:
    metrics = run.metrics()
    accuracy = f"{metrics.accuracy:.1%} accurate on {metrics.test_images:,} test images"
    return (
        f"{run.name}, a model of {metrics.parameters:,} parameters trained on "
        f"{metrics.data_name}: {accuracy}. It always chooses one of its classes, even for an "
        "image that shows none of them. Made with Thumbnet."
    )


def _require_agreement(record: WebExport, run: Run, quantized: bool) -> None:
    least = MINIMUM_AGREEMENT["int8" if quantized else "float16"]
    problems = []
    if not record.agreement >= least:  # also true of NaN
        problems.append(
            f"{record.agreement:.2%} of the predictions agree with Keras, less than {least:.0%}"
        )
    if not quantized and not record.max_difference <= MAXIMUM_DIFFERENCE:
        problems.append(
            f"probabilities differ from Keras by up to {record.max_difference:.2g}, more than "
            f"{MAXIMUM_DIFFERENCE:g}"
        )
    if problems:
        raise JobError(
            f"{run.path} was not exported to a web page: in the browser {'; '.join(problems)}"
        )
