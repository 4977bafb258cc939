"""Test images for the report, each with the runs' predictions."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from thumbnet.csv_files import read_table
from thumbnet.data.dataset import Dataset, Int64Array, LabelledImages, UInt8Array
from thumbnet.errors import InputError, quoted
from thumbnet.evaluation.comparison import PairComparison
from thumbnet.evaluation.mistakes import (
    confused_examples,
    least_confident_correct,
    likely_label_errors,
    most_confident_mistakes,
)
from thumbnet.figures.grids import sample_positions
from thumbnet.figures.heat import enlarged
from thumbnet.interpretation.explain import load_arrays
from thumbnet.report.result import Result
from thumbnet.robustness.corruptions import BENCHMARK, EXTRA, SEVERITIES, corrupt

_CLASSES = 3  # with their probabilities below each image
LONGEST_SIDE = 64  # pixels; keeps the file small when images are not
EXPLAINED_SIDE = 160  # of the pictures that are looked at closely


@dataclass(frozen=True)
class Bar:
    """A class and its probability."""

    name: str
    probability: float
    true: bool


@dataclass(frozen=True)
class Answer:
    """One run's prediction for an image: the most probable classes and the true one."""

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
    name: str
    true: str
    answers: tuple[Answer, ...]


class Gallery:
    """The test images of a report; if there are enough, each is shown only once."""

    def __init__(self, results: Sequence[Result], test: LabelledImages) -> None:
        """Mark the images that `thumbnet explain` chose as shown."""
        self._results, self._test = results, test
        ids = results[0].predictions.ids.tolist()
        position_of = {image: position for position, image in enumerate(ids)}
        self._shown = {
            position_of[row.image]
            for result in results
            if result.explanations is not None
            for row in result.explanations.gallery
            if row.image in position_of
        }

    def samples(self, count: int) -> list[Picture]:
        """A fixed random sample of images; call this before the other methods."""
        positions = sample_positions(len(self._results[0].predictions), count)
        self._shown |= set(positions.tolist())
        return _pictures(self._results, self._test, positions)

    def mistakes(self, result: Result, count: int) -> list[Picture]:
        """The images on which the run is wrong with the highest confidence."""
        predictions = result.calibrated
        return self._first(most_confident_mistakes(predictions, len(predictions)), count, [result])

    def confused(self, result: Result, count: int) -> list[Picture]:
        """The most confident images of the most confused pairs of classes, pair by pair."""
        positions = confused_examples(result.calibrated, count, without=self._shown)
        if len(positions) < count:
            positions = confused_examples(result.calibrated, count)
        return self._first(positions, count, [result])

    def uncertain(self, result: Result, count: int) -> list[Picture]:
        """The images on which the run is right with the lowest confidence."""
        predictions = result.calibrated
        return self._first(least_confident_correct(predictions, len(predictions)), count, [result])

    def label_suspects(self, result: Result, count: int) -> list[Picture]:
        """The images whose label is probably wrong, the likeliest first."""
        return self._first(likely_label_errors(result.predictions), count, [result])

    def only_right(
        self, pair: PairComparison, first: Result, second: Result, count: int
    ) -> tuple[list[Picture], list[Picture]]:
        """Images that only the first run gets right, and images that only the second gets right.

        The ones whose probability of the true class differs most between the two runs.
        """
        labels = first.predictions.labels
        images = np.arange(len(labels))
        gap = (
            first.calibrated.probabilities[images, labels]
            - second.calibrated.probabilities[images, labels]
        )
        first_wins = pair.only_first[np.argsort(-gap[pair.only_first], kind="stable")]
        second_wins = pair.only_second[np.argsort(gap[pair.only_second], kind="stable")]
        both = [first, second]
        return self._first(first_wins, count, both), self._first(second_wins, count, both)

    def _first(self, positions: Int64Array, count: int, results: Sequence[Result]) -> list[Picture]:
        """The first images; if there are enough, only images that have not been shown."""
        fresh = [position for position in positions.tolist() if position not in self._shown]
        again = [position for position in positions.tolist() if position in self._shown]
        chosen = set((fresh + again)[:count])
        self._shown |= chosen
        ordered = [position for position in positions.tolist() if position in chosen]
        return _pictures(results, self._test, np.array(ordered, np.int64))


@dataclass(frozen=True)
class Reason:
    """The explanation of a prediction.

    Attributes:
        name: name of the image.
        kind: why the image was chosen.
        label, predicted: true and predicted class.
        confidence: calibrated confidence.
        pictures: data URI, text alternative and caption of the image and of each attribution.
    """

    name: str
    kind: str
    label: str
    predicted: str
    confidence: float
    pictures: tuple[tuple[str, str, str], ...]


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
        name = test.name(row.image)
        about = f"test image {name}"
        picture = enlarged(test.images[row.image][None])[0]
        shown = [(data_uri(picture, EXPLAINED_SIDE), f"Test image {name}", "test image")]
        if "grad_cam" in arrays:
            cam = data_uri(arrays["grad_cam"][number], EXPLAINED_SIDE)
            shown.append((cam, f"Grad-CAM of {about}", "Grad-CAM"))
        attribution = data_uri(arrays["integrated_gradients"][number], EXPLAINED_SIDE)
        shown.append((attribution, f"Integrated gradients of {about}", "integrated gradients"))
        found.append(
            Reason(
                name,
                row.kind,
                row.label,
                row.predicted,
                row.confidence,
                tuple(shown),
            )
        )
    first = arrays.get("first_layer")
    return Why(found, None if first is None else mosaic_uri(first))


def corruptions(results: Sequence[Result], test: LabelledImages) -> list[tuple[str, str]]:
    """A test image with each corruption that was measured: its name, and the data URI of a strip.

    A strip shows the image as it is, and then at each severity.
    """
    measured = [one.robustness.corruptions for one in results if one.robustness]
    names = dict.fromkeys(name for found in measured if found for name in found.accuracy)
    known = [name for name in names if name in (*BENCHMARK, *EXTRA)]
    image = test.images[:1]
    strips = []
    for name in known:
        changed = [corrupt(image, name, severity)[0] for severity in SEVERITIES]
        strip = np.stack([image[0], *changed])
        strips.append((name.replace("_", " "), mosaic_uri(_color(strip), len(strip))))
    return strips


def _color(images: UInt8Array) -> UInt8Array:
    return images.repeat(3, axis=-1) if images.shape[-1] == 1 else images


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
        For each pair its row of `near_duplicates.csv` with the names of the images, and the data
        URIs of the test and the training image.
    """
    audited = next((result for result in results if result.audit is not None), None)
    if audited is None:
        return None
    path = audited.run.path / "near_duplicates.csv"
    try:
        rows = read_table(path)
        chosen = np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))
        return [
            (
                rows[i]
                | {
                    "test_name": dataset.test.name(int(rows[i]["test_image"])),
                    "train_name": dataset.train.name(int(rows[i]["train_image"])),
                },
                data_uri(dataset.test.images[int(rows[i]["test_image"])]),
                data_uri(dataset.train.images[int(rows[i]["train_image"])]),
            )
            for i in chosen
        ]
    except (OSError, InputError, KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is missing or damaged; run `thumbnet audit {quoted(audited.run.path)}` again"
        ) from error


def data_uri(image: UInt8Array, side: int = LONGEST_SIDE) -> str:
    """An image of shape (height, width, channels), of at most `side` pixels, as a PNG data URI."""
    picture = Image.fromarray(image.squeeze(axis=2) if image.shape[2] == 1 else image)
    picture.thumbnail((side, side))
    return _png_uri(picture)


def _png_uri(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _pictures(
    results: Sequence[Result], test: LabelledImages, positions: Int64Array
) -> list[Picture]:
    predictions = results[0].predictions
    pictures = []
    for position in positions.tolist():
        image, true = int(predictions.ids[position]), int(predictions.labels[position])
        shown = _shown_classes(results, position, true)
        pictures.append(
            Picture(
                uri=data_uri(test.images[image]),
                name=test.name(image),
                true=predictions.class_names[true],
                answers=tuple(_answer(result, position, shown) for result in results),
            )
        )
    return pictures


def _shown_classes(results: Sequence[Result], position: int, true: int) -> list[int]:
    """The most probable classes of an image and the true one, in the same order for all runs."""
    each = [result.calibrated.probabilities[position] for result in results]
    ranked = [int(number) for number in np.argsort(-np.mean(each, axis=0), kind="stable")]
    shown = {int(one.argmax()) for one in each} | {true}
    for number in ranked:
        if len(shown) < _CLASSES:
            shown.add(number)
    return [number for number in ranked if number in shown]


def _answer(result: Result, position: int, shown: Sequence[int]) -> Answer:
    predictions = result.calibrated
    probabilities, true = predictions.probabilities[position], predictions.labels[position]
    answer = int(probabilities.argmax())
    return Answer(
        run=result.name,
        slot=result.slot,
        predicted=predictions.class_names[answer],
        confidence=float(probabilities[answer]),
        correct=bool(answer == true),
        bars=tuple(
            Bar(predictions.class_names[i], float(probabilities[i]), bool(i == true)) for i in shown
        ),
    )
