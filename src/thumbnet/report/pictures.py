"""Test images for the page, each with what the runs say it is."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from thumbnet.data.dataset import Int64Array, LabelledImages, UInt8Array
from thumbnet.evaluation.comparison import PairComparison
from thumbnet.evaluation.mistakes import most_confident_mistakes
from thumbnet.figures.grids import sample_positions
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
    """What one run says of an image: the most probable classes, and the true one."""

    run: str
    slot: int
    predicted: str
    confidence: float
    correct: bool
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Picture:
    """A test image with its true class and one answer for each run."""

    uri: str
    image_id: int
    true: str
    answers: tuple[Answer, ...]


def mistakes(result: Result, test: LabelledImages, count: int) -> list[Picture]:
    """The images on which the run is wrong with the highest confidence."""
    return _pictures([result], test, most_confident_mistakes(result.predictions, count))


def samples(results: Sequence[Result], test: LabelledImages, count: int) -> list[Picture]:
    """Images drawn at random, the same ones every time."""
    return _pictures(results, test, sample_positions(len(results[0].predictions), count))


def only_right(
    pair: PairComparison, first: Result, second: Result, test: LabelledImages, count: int
) -> tuple[list[Picture], list[Picture]]:
    """Images that only the first gets right, and that only the second does.

    They are those on which the two differ most in the probability of the true class.
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
    """An image of shape (height, width, channels) as a PNG within an address."""
    picture = Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
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
