"""Misclassified images, confused classes, and possible label errors."""

from collections.abc import Collection
from typing import TypedDict

import numpy as np

from thumbnet.data.dataset import Int64Array
from thumbnet.evaluation.predictions import Predictions


def most_confident_mistakes(predictions: Predictions, count: int) -> Int64Array:
    """Positions of the wrong predictions, in order of decreasing confidence."""
    wrong = np.flatnonzero(~predictions.correct)
    return wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:count]


def least_confident_correct(predictions: Predictions, count: int) -> Int64Array:
    """Positions of the correct predictions, in order of increasing confidence."""
    correct = np.flatnonzero(predictions.correct)
    return correct[np.argsort(predictions.confidence[correct], kind="stable")][:count]


def likely_label_errors(predictions: Predictions) -> Int64Array:
    """Positions of images whose label is probably wrong, the most likely first.

    Confident learning: an image is assigned to a class if its probability is at least the mean
    probability of that class over the images with its label. Images that are assigned to a class
    other than their label are suspects, ranked by the margin between the probability of the label
    and the highest other one. The model must not have been trained on these images.

    Source: Northcutt, Jiang and Chuang, Confident Learning, JAIR 2021 (arXiv 1911.00068).
    """
    probabilities, labels = predictions.probabilities, predictions.labels
    classes = len(predictions.class_names)
    images = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels]
    # No image can pass the threshold of a class without images.
    threshold = np.where(
        images > 0, np.bincount(labels, own, classes) / np.maximum(images, 1), np.inf
    )
    passing = np.where(probabilities >= threshold, probabilities, -1.0)
    suspects = np.flatnonzero((passing.max(axis=1) >= 0) & (passing.argmax(axis=1) != labels))
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    margin = own - others.max(axis=1)
    return suspects[np.argsort(margin[suspects], kind="stable")]


class ConfusedPair(TypedDict):
    """A row of `confused_pairs.csv`.

    Attributes:
        true, predicted: the true and the predicted class.
        images: number of images of the true class with this prediction.
        share_of_class: their fraction of the images of the true class.
    """

    true: str
    predicted: str
    images: int
    share_of_class: float


class ImageRow(TypedDict):
    """A row of `mistakes.csv`, `uncertain.csv` and `label_suspects.csv`.

    Attributes:
        part: the split.
        image: index within the split.
        name: name of the file; empty for images without names.
        label, predicted: the true and the predicted class.
        confidence: probability of the predicted class.
        probability_of_label: probability of the true class.
    """

    part: str
    image: int
    name: str
    label: str
    predicted: str
    confidence: float
    probability_of_label: float


def confused_pairs(predictions: Predictions) -> list[ConfusedPair]:
    """Table rows of all confused pairs of classes, in order of decreasing frequency."""
    names = predictions.class_names
    support = np.bincount(predictions.labels, minlength=len(names))
    wrong = ~predictions.correct
    pairs, counts = np.unique(
        np.stack([predictions.labels[wrong], predictions.predicted[wrong]]),
        axis=1,
        return_counts=True,
    )
    return [
        {
            "true": names[pairs[0, i]],
            "predicted": names[pairs[1, i]],
            "images": int(counts[i]),
            "share_of_class": float(counts[i] / support[pairs[0, i]]),
        }
        for i in np.argsort(-counts, kind="stable")
    ]


def confused_examples(
    predictions: Predictions, count: int, per_pair: int = 6, without: Collection[int] = ()
) -> Int64Array:
    """Positions of the most confident mistakes of the most confused pairs, pair by pair.

    Args:
        predictions: the predictions.
        count: maximum number of images.
        per_pair: maximum number of images per pair.
        without: positions to leave out.
    """
    predicted, names = predictions.predicted, predictions.class_names
    wrong = most_confident_mistakes(predictions, len(predictions))
    wrong = wrong[~np.isin(wrong, list(without))]
    chosen: list[int] = []
    for pair in confused_pairs(predictions):
        true, other = names.index(pair["true"]), names.index(pair["predicted"])
        of_pair = wrong[(predictions.labels[wrong] == true) & (predicted[wrong] == other)]
        chosen += of_pair[:per_pair].tolist()
        if len(chosen) >= count:
            break
    return np.array(chosen[:count], np.int64)


def image_rows(predictions: Predictions, positions: Int64Array) -> list[ImageRow]:
    """Table rows of the predictions at some positions."""
    names, predicted = predictions.class_names, predictions.predicted
    return [
        {
            "part": predictions.part,
            "image": int(predictions.ids[i]),
            "name": predictions.names[i] if predictions.names else "",
            "label": names[predictions.labels[i]],
            "predicted": names[predicted[i]],
            "confidence": float(predictions.confidence[i]),
            "probability_of_label": float(predictions.probabilities[i, predictions.labels[i]]),
        }
        for i in positions
    ]
