"""Whether the test is fair: test images that training has seen, or nearly so."""

from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.atomic import write_json
from thumbnet.data.dataset import Dataset, UInt8Array
from thumbnet.evaluation.predictions import Float32Array, Predictions
from thumbnet.figures import image_grid, save_figure
from thumbnet.runs.run import Run, write_table

# Of twelve pairs just above it on CIFAR-10, eleven are one picture to the eye (docs/trust.md).
SIMILAR = 0.95
_COARSE, _CANDIDATE = 8, 0.9
_BLOCK = 500
_SHOWN = 24


def audit(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Find the near-duplicates of a run's data, and how the run does without them.

    Returns:
        What `audit.json` then holds; `near_duplicates.csv` lists the pairs, the most similar first.

    Raises:
        InputError: the run has not finished.
        JobError: a file cannot be written.
    """
    predictions = run.predictions()
    rows = near_duplicates(dataset)
    apart = ~np.isin(predictions.ids, [row["test_image"] for row in rows])
    values = {
        "measure": f"correlation of standardised pixels of at least {SIMILAR}, mirrored or not",
        "test_images": len(predictions),
        "near_duplicates": len(rows),
        "identical": sum(row["identical"] for row in rows),
        "other_label": sum(row["test_label"] != row["train_label"] for row in rows),
        "accuracy": _share(predictions, np.ones(len(predictions), bool)),
        "accuracy_without": _share(predictions, apart),
        "accuracy_on_duplicates": _share(predictions, ~apart),
    }
    write_table(run.path / "near_duplicates.csv", rows)
    write_json(run.audit_path, values)
    if rows:
        save_figure(duplicates_grid(rows, dataset), run.figures_path / "near_duplicates.png")
    return values


def near_duplicates(dataset: Dataset) -> list[dict[str, Any]]:
    """Each test image with the training image most like it, where the two are nearly the same.

    Pictures are compared by the correlation of their pixels, which no change of brightness or
    contrast alters: first shrunk to 8×8, against all training images, then the best one in full.

    Returns:
        Rows of a table, the most similar first.
    """
    train, test = dataset.train, dataset.test
    coarse_train = _standardise(_shrink(train.images))
    rows = []
    for start in range(0, len(test), _BLOCK):
        images = test.images[start : start + _BLOCK]
        best = np.full(len(images), -1.0, np.float32)
        nearest, mirrored = np.zeros(len(images), np.int64), np.zeros(len(images), bool)
        for flip in (False, True):
            seen = images[:, :, ::-1] if flip else images
            likeness = _standardise(_shrink(seen)) @ coarse_train.T
            found = likeness.argmax(axis=1)
            candidates = np.flatnonzero(likeness[np.arange(len(images)), found] > _CANDIDATE)
            exact = _standardise(seen[candidates]) * _standardise(train.images[found[candidates]])
            similarity = exact.sum(axis=1)
            better = similarity > best[candidates]
            chosen = candidates[better]
            best[chosen], nearest[chosen] = similarity[better], found[chosen]
            mirrored[chosen] = flip
        rows += [
            {
                "test_image": start + int(i),
                "test_name": test.names[start + i] if test.names else "",
                "train_image": int(nearest[i]),
                "train_name": train.names[nearest[i]] if train.names else "",
                "similarity": float(min(best[i], 1.0)),
                "mirrored": bool(mirrored[i]),
                "identical": bool(np.array_equal(images[i], train.images[nearest[i]])),
                "test_label": dataset.class_names[test.labels[start + i]],
                "train_label": dataset.class_names[train.labels[nearest[i]]],
            }
            for i in np.flatnonzero(best >= SIMILAR)
        ]
    return sorted(rows, key=lambda row: -row["similarity"])


def duplicates_grid(rows: list[dict[str, Any]], dataset: Dataset) -> Any:
    """Pairs side by side: a Matplotlib figure of those least alike, which are worth a look."""
    shown = rows[-_SHOWN // 2 :]
    images, captions = [], []
    for row in shown:
        pair = (
            ("test", row["test_image"], row["test_label"], dataset.test),
            ("train", row["train_image"], row["train_label"], dataset.train),
        )
        for name, number, label, part in pair:
            images.append(part.images[number])
            captions.append(f"{name} {number}\n{label}")
    return image_grid(np.stack(images), captions)


def _share(predictions: Predictions, chosen: npt.NDArray[np.bool_]) -> float | None:
    """Accuracy on the chosen images; None where there is none."""
    return float(predictions.correct[chosen].mean()) if chosen.any() else None


def _shrink(images: UInt8Array) -> Float32Array:
    """Averages over a grid of at most 8×8 equal cells, what does not divide left out."""
    count, height, width, channels = images.shape
    rows, columns = min(_COARSE, height), min(_COARSE, width)
    tall, wide = height // rows, width // columns
    cells = images[:, : rows * tall, : columns * wide].reshape(
        count, rows, tall, columns, wide, channels
    )
    averages: Float32Array = cells.mean(axis=(2, 4), dtype=np.float32)
    return averages


def _standardise(images: npt.NDArray[Any]) -> Float32Array:
    """Each image as a vector of mean 0 and length 1, so that products are correlations."""
    vectors = images.reshape(len(images), -1).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    standard: Float32Array = vectors / np.maximum(lengths, 1e-6)
    return standard
