"""Test images for the report, each with the runs' predictions."""

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from thumbnet.data.dataset import Dataset, Int64Array, LabelledImages, UInt8Array
from thumbnet.errors import InputError
from thumbnet.evaluation.comparison import PairComparison
from thumbnet.evaluation.mistakes import (
    confused_examples,
    least_certain_right,
    likely_label_errors,
    most_confident_mistakes,
)
from thumbnet.figures.grids import sample_positions
from thumbnet.interpretation.explain import load_arrays
from thumbnet.record import read_bounded_text
from thumbnet.report.result import Result

LONGEST_SIDE = 64  # pixels; keeps the file small when images are not


@dataclass(frozen=True)
class Bar:
    """A class and its probability."""

    name: str
    probability: float
    true: bool


@dataclass(frozen=True)
class Answer:
    """One run's prediction for an image: the most probable classes, and the true one."""

    run: str
    slot: int
    predicted: str
    confidence: float
    correct: bool
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Picture:
    """A test image with its true class and the prediction of each run."""

    uri: str
    image_id: int
    true: str
    answers: tuple[Answer, ...]


def mistakes(result: Result, test: LabelledImages, count: int) -> list[Picture]:
    """The wrong predictions with the highest confidence."""
    return _pictures([result], test, most_confident_mistakes(result.predictions, count))


def confused(result: Result, test: LabelledImages, count: int) -> list[Picture]:
    """The most confident mistakes of the most confused pairs of classes, pair by pair."""
    return _pictures([result], test, confused_examples(result.predictions, count))


def uncertain(result: Result, test: LabelledImages, count: int) -> list[Picture]:
    """The correct predictions with the lowest confidence."""
    return _pictures([result], test, least_certain_right(result.predictions, count))


def label_suspects(result: Result, test: LabelledImages, count: int) -> list[Picture]:
    """The images whose label is probably wrong, the most likely first."""
    return _pictures([result], test, likely_label_errors(result.predictions)[:count])


@dataclass(frozen=True)
class Reason:
    """The explanation of a prediction.

    Attributes:
        kind: why the image was chosen.
        label, predicted: true and predicted class.
        confidence: calibrated confidence.
        pictures: data URI and text alternative of the image and of each attribution.
    """

    image_id: int
    kind: str
    label: str
    predicted: str
    confidence: float
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Why:
    """The explanations of a run; `first_layer` is the data URI of an image, or None."""

    reasons: list[Reason]
    first_layer: str | None


def reasons(result: Result, test: LabelledImages) -> Why | None:
    """The results of `thumbnet explain`; None if it was not run."""
    if result.explanations is None:
        return None
    arrays = load_arrays(result.run)
    found = []
    for number, row in enumerate(result.explanations.gallery):
        about = f"test image {row.image}"
        shown = [(data_uri(test.images[row.image]), about.capitalize())]
        if "grad_cam" in arrays:
            shown.append((data_uri(arrays["grad_cam"][number]), f"Grad-CAM of {about}"))
        attribution = data_uri(arrays["integrated_gradients"][number])
        shown.append((attribution, f"Integrated gradients of {about}"))
        found.append(
            Reason(
                row.image,
                row.kind,
                row.label,
                row.predicted,
                row.confidence,
                tuple(shown),
            )
        )
    first = arrays.get("first_layer")
    return Why(found, None if first is None else mosaic_uri(first))


def mosaic_uri(images: UInt8Array, columns: int = 12) -> str:
    """Small images side by side, with transparent gaps, as the data URI of one PNG."""
    count, height, width, _ = images.shape
    columns = min(columns, count)
    # The gap of two pixels must be small compared with the images.
    scale = max(1, 16 // height)
    large = images.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale
    sheet = np.zeros((-(-count // columns) * (height + 2), columns * (width + 2), 4), np.uint8)
    for number, image in enumerate(large):
        row, column = divmod(number, columns)
        top, left = row * (height + 2), column * (width + 2)
        sheet[top : top + height, left : left + width, :3] = image
        sheet[top : top + height, left : left + width, 3] = 255
    return _png_uri(Image.fromarray(sheet))


def duplicates(
    results: Sequence[Result], dataset: Dataset, count: int
) -> list[tuple[dict[str, str], str, str]] | None:
    """Pairs of near-duplicates, sampled evenly by similarity; None if there was no audit.

    Returns:
        For each pair its row of `near_duplicates.csv`, and the data URIs of the test and of the
        training image.
    """
    audited = next((result for result in results if result.audit is not None), None)
    if audited is None:
        return None
    path = audited.run.path / "near_duplicates.csv"
    try:
        rows = list(csv.DictReader(io.StringIO(read_bounded_text(path))))
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))
        return [
            (
                rows[i],
                data_uri(dataset.test.images[int(rows[i]["test_image"])]),
                data_uri(dataset.train.images[int(rows[i]["train_image"])]),
            )
            for i in chosen
        ]
    except (OSError, csv.Error, KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is missing or damaged; run `thumbnet audit {audited.run.path}` again"
        ) from error


def samples(results: Sequence[Result], test: LabelledImages, count: int) -> list[Picture]:
    """A fixed random sample of images."""
    return _pictures(results, test, sample_positions(len(results[0].predictions), count))


def only_right(
    pair: PairComparison, first: Result, second: Result, test: LabelledImages, count: int
) -> tuple[list[Picture], list[Picture]]:
    """Images that only the first run classifies correctly, and those that only the second does.

    The images with the largest difference in the probability of the true class come first.
    """
    labels = first.predictions.labels
    images = np.arange(len(labels))
    gap = (
        first.predictions.probabilities[images, labels]
        - second.predictions.probabilities[images, labels]
    )
    first_wins = pair.only_first[np.argsort(-gap[pair.only_first], kind="stable")][:count]
    second_wins = pair.only_second[np.argsort(gap[pair.only_second], kind="stable")][:count]
    both = [first, second]
    return _pictures(both, test, first_wins), _pictures(both, test, second_wins)


def data_uri(image: UInt8Array) -> str:
    """An image of shape (height, width, channels) as the data URI of a PNG."""
    picture = Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return _png_uri(picture)


def _png_uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _pictures(
    results: Sequence[Result], test: LabelledImages, positions: Int64Array
) -> list[Picture]:
    predictions = results[0].predictions
    return [
        Picture(
            uri=data_uri(test.images[predictions.ids[position]]),
            image_id=int(predictions.ids[position]),
            true=predictions.class_names[predictions.labels[position]],
            answers=tuple(_answer(result, position) for result in results),
        )
        for position in positions
    ]


def _answer(result: Result, position: int) -> Answer:
    predictions = result.predictions
    probabilities, true = predictions.probabilities[position], predictions.labels[position]
    ranked = [int(i) for i in np.argsort(-probabilities, kind="stable")]
    shown: Iterable[int] = ranked[:3] if true in ranked[:3] else [*ranked[:2], int(true)]
    return Answer(
        run=result.name,
        slot=result.slot,
        predicted=predictions.class_names[ranked[0]],
        confidence=float(probabilities[ranked[0]]),
        correct=bool(ranked[0] == true),
        bars=tuple(
            Bar(predictions.class_names[i], float(probabilities[i]), bool(i == true)) for i in shown
        ),
    )
