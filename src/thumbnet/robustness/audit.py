"""Audit of the test split: test images that are near-duplicates of training images."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from thumbnet.csv_files import write_table
from thumbnet.data.dataset import Dataset, Images, UInt8Array
from thumbnet.engines import in_batches, prediction_batch
from thumbnet.evaluation.predictions import Float32Array, Predictions
from thumbnet.figures import add_title, image_grid, save_figure
from thumbnet.figures.style import file_label, label
from thumbnet.record import write_record
from thumbnet.runs.records import Audit, SimilarPair
from thumbnet.runs.run import Run

# Of twelve pairs just above this value on CIFAR-10, eleven look identical (docs/trust.md).
SIMILAR = 0.95
_COARSE, _CANDIDATE = 8, 0.9
_SIMILARITIES = 2**24  # in memory at once, 4 bytes each
_SHOWN, _LISTED = 24, 5


def audit(run: Run, dataset: Dataset) -> Audit:
    """Find near-duplicates in a run's data, and measure its accuracy without them.

    Returns:
        The content of `audit.json`; `near_duplicates.csv` lists the pairs, the most similar first.

    Raises:
        InputError: the run has not finished.
        JobError: a file cannot be written.
    """
    predictions = run.predictions()
    rows = near_duplicates(dataset)
    apart = ~np.isin(predictions.ids, [row["test_image"] for row in rows])
    found = Audit(
        measure=f"correlation of standardised pixels of at least {SIMILAR}, mirrored or not",
        test_images=len(predictions),
        near_duplicates=len(rows),
        identical=sum(row["identical"] for row in rows),
        other_label=sum(row["test_label"] != row["train_label"] for row in rows),
        most_similar=[
            SimilarPair(
                test=dataset.test.name(row["test_image"]),
                train=dataset.train.name(row["train_image"]),
            )
            for row in rows[:_LISTED]
        ],
        accuracy=_accuracy(predictions, np.ones(len(predictions), bool)),
        accuracy_without=_accuracy(predictions, apart),
        accuracy_on_duplicates=_accuracy(predictions, ~apart),
    )
    write_table(run.path / "near_duplicates.csv", rows)
    write_record(run.audit_path, found)
    if rows:
        figure = duplicates_grid(rows, dataset)
        about = f"{label(run.name)} on {label(dataset.name)}, the least similar of {len(rows):,}"
        add_title(figure, "Near-duplicates of training images", about)
        save_figure(figure, run.figures_path / "near_duplicates.png")
    return found


class NearDuplicate(TypedDict):
    """A row of `near_duplicates.csv`: a test image and the most similar training image.

    Attributes:
        test_image, train_image: indices of the two images.
        test_name, train_name: names of their files; empty for images without names.
        similarity: correlation of their pixels.
        mirrored: whether one of the two was mirrored for the comparison.
        identical: whether their pixels are identical.
        test_label, train_label: their classes.
    """

    test_image: int
    test_name: str
    train_image: int
    train_name: str
    similarity: float
    mirrored: bool
    identical: bool
    test_label: str
    train_label: str


def near_duplicates(dataset: Dataset) -> list[NearDuplicate]:
    """Each test image that has a near-duplicate, with the most similar training image.

    Images are compared by the correlation of their pixels, which does not depend on brightness and
    contrast: first with all training images at 8×8 pixels, then with the best one at full size.

    Returns:
        Rows of a table, the most similar first.
    """
    train, test = dataset.train, dataset.test
    coarse_train = np.concatenate(
        [_standardise(_shrink(train.images[some])) for some in in_batches(train.images)]
    )
    block = max(1, min(prediction_batch(test.images.shape[1:]), _SIMILARITIES // len(train)))
    rows: list[NearDuplicate] = []
    for start in range(0, len(test), block):
        images = test.images[start : start + block]
        for i, match in _matches(images, train.images, coarse_train):
            rows.append(
                {
                    "test_image": start + i,
                    "test_name": test.names[start + i] if test.names else "",
                    "train_image": match.number,
                    "train_name": train.names[match.number] if train.names else "",
                    "similarity": min(match.similarity, 1.0),
                    "mirrored": match.mirrored,
                    "identical": bool(np.array_equal(images[i], train.images[match.number])),
                    "test_label": dataset.class_names[test.labels[start + i]],
                    "train_label": dataset.class_names[train.labels[match.number]],
                }
            )
    return sorted(rows, key=lambda row: -row["similarity"])


@dataclass(frozen=True)
class _Match:
    """The training image most similar to a test image or, if `mirrored`, to its mirror image."""

    similarity: float
    number: int
    mirrored: bool


def _matches(
    images: UInt8Array, train: Images, coarse_train: Float32Array
) -> Iterator[tuple[int, _Match]]:
    """The position of each image that has a near-duplicate, with its match."""
    best: dict[int, _Match] = {}
    for mirrored in (False, True):
        seen = images[:, :, ::-1] if mirrored else images
        likeness = _standardise(_shrink(seen)) @ coarse_train.T
        nearest = likeness.argmax(axis=1)
        candidates = np.flatnonzero(likeness[np.arange(len(images)), nearest] > _CANDIDATE)
        if len(candidates) == 0:
            continue
        exact = _standardise(seen[candidates]) * _standardise(train[nearest[candidates]])
        for i, similarity in zip(candidates.tolist(), exact.sum(axis=1).tolist(), strict=True):
            if i not in best or similarity > best[i].similarity:
                best[i] = _Match(similarity, int(nearest[i]), mirrored)
    yield from ((i, match) for i, match in sorted(best.items()) if match.similarity >= SIMILAR)


def duplicates_grid(rows: list[NearDuplicate], dataset: Dataset) -> Any:
    """A Matplotlib figure of the least similar pairs, which are the most doubtful."""
    shown = rows[-_SHOWN // 2 :]
    images, captions = [], []
    for row in shown:
        pair = (
            ("test", row["test_image"], row["test_label"], dataset.test),
            ("train", row["train_image"], row["train_label"], dataset.train),
        )
        for name, number, class_name, part in pair:
            images.append(part.images[number])
            captions.append(f"{name}: {class_name}\n{file_label(part.name(number))}")
    return image_grid(np.stack(images), captions)


def _accuracy(predictions: Predictions, chosen: npt.NDArray[np.bool_]) -> float | None:
    """Accuracy on the chosen images; None if there are none."""
    return float(predictions.correct[chosen].mean()) if chosen.any() else None


def _shrink(images: UInt8Array) -> Float32Array:
    """Averages over a grid of at most 8×8 equal cells; remaining rows and columns are ignored."""
    count, height, width, channels = images.shape
    rows, columns = min(_COARSE, height), min(_COARSE, width)
    tall, wide = height // rows, width // columns
    cells = images[:, : rows * tall, : columns * wide].reshape(
        count, rows, tall, columns, wide, channels
    )
    averages: Float32Array = cells.mean(axis=(2, 4), dtype=np.float32)
    return averages


def _standardise(images: npt.NDArray[Any]) -> Float32Array:
    """Each image as a vector of mean 0 and length 1, so that dot products are correlations."""
    vectors = images.reshape(len(images), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    standard: Float32Array = vectors / np.maximum(lengths, 1e-6)
    return standard
