"""Predictions of a run for images in files, folders and arrays."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from thumbnet.data.arrays import resize
from thumbnet.data.dataset import LabelledImages, UInt8Array
from thumbnet.data.formats import IMAGE_SUFFIXES
from thumbnet.data.images import fit_image, open_picture, read_image, silent_pillow
from thumbnet.data.pixels import as_pixels
from thumbnet.engines import Engine, open_engine, prediction_batch
from thumbnet.errors import InputError, shown
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.frames import data_frame
from thumbnet.paths import expanded
from thumbnet.runs.run import Run

if TYPE_CHECKING:
    import pandas


File = str | Path | bytes
"""An image file: its path or its content."""
STANDARD_INPUT = "-"
"""The name of a file that is given as bytes."""


@dataclass(frozen=True)
class FilePrediction:
    """The prediction for one file or one image of an array.

    Attributes:
        path: the path of the file as given, or the name of an image of an array.
        probabilities: probability by class name, most probable first, calibrated with the run's
            temperature; empty after an error.
        error: why the file could not be read; empty if it was read.
    """

    path: str
    probabilities: dict[str, float] = field(default_factory=dict)
    error: str = ""

    @property
    def class_name(self) -> str:
        """The most probable class."""
        return next(iter(self.probabilities), "")

    @property
    def confidence(self) -> float:
        """The probability of the most probable class; 0 after an error."""
        return next(iter(self.probabilities.values()), 0.0)

    def is_rejected(self, reject_below: float) -> bool:
        """Whether the confidence is below a threshold, so that the prediction counts as unsure."""
        return self.confidence < reject_below

    def to_dict(self, top: int, reject_below: float = 0.0) -> dict[str, Any]:
        """Plain values for JSON.

        Args:
            top: number of classes, the most probable ones.
            reject_below: confidence below which the prediction is marked as rejected.
        """
        if self.error:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "class_name": self.class_name,
            "probability": self.confidence,
            "rejected": self.is_rejected(reject_below),
            "probabilities": dict(list(self.probabilities.items())[:top]),
        }


class PredictedImages(Sequence[FilePrediction]):
    """The predictions of several images, in order.

    Attributes:
        class_names: in the order of the model's outputs.
        uncalibrated: why the run has no fitted temperature and its probabilities are not
            calibrated; empty if it has one.
    """

    def __init__(
        self,
        predictions: Iterable[FilePrediction],
        class_names: Sequence[str],
        uncalibrated: str = "",
    ) -> None:
        self._predictions, self.class_names = tuple(predictions), tuple(class_names)
        self.uncalibrated = uncalibrated

    @overload
    def __getitem__(self, index: int) -> FilePrediction: ...
    @overload
    def __getitem__(self, index: slice) -> "PredictedImages": ...
    def __getitem__(self, index: int | slice) -> "FilePrediction | PredictedImages":
        if isinstance(index, slice):
            return PredictedImages(self._predictions[index], self.class_names, self.uncalibrated)
        return self._predictions[index]

    def __len__(self) -> int:
        return len(self._predictions)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PredictedImages | list | tuple):
            return list(self) == list(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((len(self), self.class_names))

    def __str__(self) -> str:
        counts = Counter(one.class_name or "not read" for one in self)
        found = ", ".join(f"{count:,} × {name}" for name, count in counts.most_common(5))
        return f"{len(self):,} predictions: {found}{', …' * (len(counts) > 5)}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def _repr_html_(self) -> str:
        from thumbnet.notebook import predictions_html

        return predictions_html(self)

    @property
    def probabilities(self) -> Float32Array:
        """Calibrated probabilities: float32 array of shape (n, classes), ordered by `class_names`.

        The row of an image that could not be read is NaN.
        """
        rows = [[one.probabilities.get(name, np.nan) for name in self.class_names] for one in self]
        return np.array(rows, np.float32).reshape(len(self), len(self.class_names))

    def to_frame(self) -> "pandas.DataFrame":
        """A pandas DataFrame with one row per image.

        Its columns are `path`, `class_name`, `probability` (of that class), `error`, and the
        probability of each class.

        Raises:
            InputError: pandas is not installed.
        """
        columns = ["path", "class_name", "probability", "error", *self.class_names]
        rows = (
            {
                **one.probabilities,
                "path": one.path,
                "class_name": one.class_name,
                "probability": None if one.error else one.confidence,
                "error": one.error,
            }
            for one in self
        )
        return data_frame(rows, columns)


def predict(
    run: Run | str | Path,
    images: object,
    engine_name: str | None = None,
    max_megapixels: int = 50,
) -> PredictedImages:
    """Classify images in files of any size, mode and supported format, or in arrays.

    Args:
        run: a finished run.
        images: a file, the content of a file as bytes, a folder of images, a pattern such as
            "photos/*.jpg", or several of these; or an array of one or several images, of shape
            (n, height, width) or (n, height, width, 1 or 3), with values as for
            `Dataset.from_arrays`; or a split of a dataset. Arrays of another size are resized in
            the same way as files.
        engine_name: see `thumbnet.engines.open_engine`.
        max_megapixels: as for `thumbnet.load`.

    Returns:
        One prediction per image, in order. The prediction of a file that cannot be read contains
        an error and does not affect the others. Images of an array are named "#0", "#1" and so on,
        and a file given as bytes "-".

    Raises:
        InputError: the run or the images cannot be used, a folder contains no images, or a pattern
            matches no file.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    paths = _paths(images)
    if paths is None:
        return _predict_arrays(open_engine(run, engine_name), images, _why_uncalibrated(run))
    engine = open_engine(run, engine_name)
    size = prediction_batch(engine.image_shape)
    predictions = (
        one
        for start in range(0, len(paths), size)
        for one in _predict_files(engine, paths[start : start + size], max_megapixels * 1_000_000)
    )
    return PredictedImages(predictions, engine.class_names, _why_uncalibrated(run))


def _why_uncalibrated(run: Run) -> str:
    return run.metrics().calibration.reason or ""


def _paths(images: object) -> list[File] | None:
    """The files if `images` are paths; None if they are arrays."""
    if isinstance(images, File):
        images = [images]
    if not isinstance(images, Sequence) or not all(isinstance(one, File) for one in images):
        return None
    return [path for one in images for path in _files_of(one)]


def _files_of(path: File) -> Sequence[File]:
    """The file itself, or the sorted images in a folder or matching a pattern.

    An existing file is never treated as a pattern.
    """
    if isinstance(path, bytes):
        return [path]
    folder = expanded(path)
    if not folder.is_dir():
        if folder.exists() or not glob.has_magic(str(path)):
            return [path]
        # Path.glob does not accept absolute patterns.
        matching = map(Path, glob.glob(str(folder), recursive=True))  # noqa: PTH207
        if not (found := sorted(filter(Path.is_file, matching))):
            raise InputError(f"no file matches {shown(path)}")
        return found
    found = sorted(file for file in folder.rglob("*") if file.name.lower().endswith(IMAGE_SUFFIXES))
    if not found:
        raise InputError(f"the folder {shown(path)} contains no images")
    return found


def _predict_arrays(engine: Engine, images: object, uncalibrated: str) -> PredictedImages:
    if isinstance(images, LabelledImages):
        pixels, names = images.images, [images.name(index) for index in range(len(images))]
    else:
        array = np.asarray(images)
        if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3)):  # one image
            array = array[None]
        if array.dtype == np.uint8 and array.ndim == 3:
            array = array[..., None]
        is_pixels = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in (1, 3)
        pixels = array if is_pixels else as_pixels({"images": array})[0]["images"]
        names = [f"#{index}" for index in range(len(pixels))]
    size = prediction_batch(engine.image_shape)
    predictions: list[FilePrediction] = []
    for start in range(0, len(pixels), size):
        batch = resize(np.asarray(pixels[start : start + size]), engine.image_shape)
        for name, row in zip(names[start : start + size], engine.predict(batch), strict=True):
            predictions.append(_prediction(name, row, engine.class_names))
    return PredictedImages(predictions, engine.class_names, uncalibrated)


def _predict_files(engine: Engine, paths: Sequence[File], max_pixels: int) -> list[FilePrediction]:
    names = [STANDARD_INPUT if isinstance(path, bytes) else str(path) for path in paths]
    images, predictions = [], [FilePrediction(name) for name in names]
    readable = []
    for position, path in enumerate(paths):
        try:
            images.append(_read(path, engine.image_shape, max_pixels))
            readable.append(position)
        except InputError as error:
            predictions[position] = FilePrediction(names[position], error=str(error))
    if images:
        for position, row in zip(readable, engine.predict(np.stack(images)), strict=True):
            predictions[position] = _prediction(names[position], row, engine.class_names)
    return predictions


def _read(path: File, shape: tuple[int, int, int], max_pixels: int) -> UInt8Array:
    if not isinstance(path, bytes):
        return read_image(path, shape, max_pixels)
    with silent_pillow(max_pixels):
        picture = open_picture(path, "the given bytes", max_pixels, needed=shape[:2])
        return fit_image(picture.image, shape)


def _prediction(path: str, row: Float32Array, class_names: Sequence[str]) -> FilePrediction:
    order = np.argsort(-row, kind="stable")
    return FilePrediction(path, {class_names[index]: float(row[index]) for index in order})
