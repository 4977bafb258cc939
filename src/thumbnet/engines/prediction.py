"""What a run says of picture files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from thumbnet.data.images import read_image
from thumbnet.engines import Engine, open_engine, prediction_batch
from thumbnet.errors import InputError
from thumbnet.runs.run import Run


@dataclass(frozen=True)
class FilePrediction:
    """The answer for one file.

    Attributes:
        path: the file, as it was given.
        probabilities: of every class by its name, most probable first, calibrated by the run's
            temperature; empty after an error.
        error: why the file could not be read; empty if it could.
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
        """The probability of that class; 0 after an error."""
        return next(iter(self.probabilities.values()), 0.0)

    def to_dict(self, top: int, reject_below: float = 0.0) -> dict[str, Any]:
        """Plain values for JSON, with the `top` most probable classes.

        Args:
            top: how many classes.
            reject_below: the confidence under which the answer counts as none.
        """
        if self.error:
            return {"path": self.path, "error": self.error}
        return {
            "path": self.path,
            "class_name": self.class_name,
            "probability": self.confidence,
            "rejected": self.confidence < reject_below,
            "probabilities": dict(list(self.probabilities.items())[:top]),
        }


def predict(
    run: Run | str | Path,
    paths: Sequence[str | Path],
    engine_name: str | None = None,
    max_megapixels: int = 50,
) -> list[FilePrediction]:
    """Classify picture files of any size and mode, in any format that is read.

    Args:
        run: a finished run.
        paths: the files.
        engine_name: see `thumbnet.engines.open_engine`.
        max_megapixels: as for `thumbnet.load`.

    Returns:
        One answer for each path, in order; a file that cannot be read gets an error instead of
        probabilities, and the others are still answered.

    Raises:
        InputError: the run cannot be used.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    engine = open_engine(run, engine_name)
    size = prediction_batch(engine.image_shape)
    return [
        answer
        for start in range(0, len(paths), size)
        for answer in _predict_files(
            engine, paths[start : start + size], max_megapixels * 1_000_000
        )
    ]


def _predict_files(
    engine: Engine, paths: Sequence[str | Path], max_pixels: int
) -> list[FilePrediction]:
    images, answers = [], [FilePrediction(str(path)) for path in paths]
    readable = []
    for position, path in enumerate(paths):
        try:
            images.append(read_image(path, engine.image_shape, max_pixels))
            readable.append(position)
        except InputError as error:
            answers[position] = FilePrediction(str(path), error=str(error))
    if images:
        probabilities = engine.predict(np.stack(images))
        for position, row in zip(readable, probabilities, strict=True):
            order = np.argsort(-row, kind="stable")
            ranked = {engine.class_names[index]: float(row[index]) for index in order}
            answers[position] = FilePrediction(str(paths[position]), ranked)
    return answers
