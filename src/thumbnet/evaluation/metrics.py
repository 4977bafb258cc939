"""Every figure that describes one set of predictions. Pure functions of `Predictions`."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from thumbnet.data.dataset import Int64Array
from thumbnet.errors import InputError
from thumbnet.evaluation.calibration import probability_scores
from thumbnet.evaluation.intervals import Interval, f1_intervals, wilson
from thumbnet.evaluation.predictions import Predictions


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class, or an average over classes.

    The 95% intervals are those of `thumbnet.evaluation.intervals`; None for a class without
    images, and where none is computed (for the weighted average, and for the averages of recall).
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    recall_low: float | None = None
    recall_high: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; None for what cannot be known without an image of the class."""
        values = asdict(self)
        if self.support == 0:
            values |= {"precision": None, "recall": None, "f1": None}
        return values


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        images: number of images evaluated.
        accuracy: share of images whose most probable class is the true one (top-1).
        accuracy_low, accuracy_high: 95% Wilson interval of `accuracy`.
        top_k_accuracy: share whose true class is among the `top_k` most probable ones.
        top_k: 5, or one less than the number of classes where there are five or fewer.
        log_loss: mean negative log-likelihood in nats.
        expected_calibration_error: with 15 bins of equal width.
        brier_score: mean squared distance of the probabilities from the one-hot label, 0 to 2.
        macro_average: mean over the classes that have images; its support is `images`.
        weighted_average: the same, weighted by the number of images of each class.
        classes: one entry for each class, in label order.
        confusion: int64 array of shape (classes, classes); rows are true, columns predicted.
    """

    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    top_k: int
    top_k_accuracy: float
    log_loss: float
    expected_calibration_error: float
    brier_score: float
    macro_average: ClassScores
    weighted_average: ClassScores
    classes: tuple[ClassScores, ...]
    confusion: Int64Array

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        values["confusion"] = self.confusion.tolist()
        values["classes"] = [scores.to_dict() for scores in self.classes]
        return values


def evaluate(predictions: Predictions) -> Evaluation:
    """Compute every metric of one set of predictions.

    Precision and F1 of a class that is never predicted count as 0 in the averages. A class without
    images is left out of them: a model that is right on every image has a macro F1 of 1.

    Raises:
        InputError: there is no prediction.
    """
    labels, predicted = predictions.labels, predictions.predicted
    count, class_count = predictions.probabilities.shape
    every_class = np.arange(class_count)
    correct = int(predictions.correct.sum())
    interval = wilson(correct, count)
    if interval is None:
        raise InputError("there is no prediction to evaluate")
    top_k = min(5, max(1, class_count - 1))
    confusion = confusion_matrix(labels, predicted, labels=every_class)
    macro_interval, class_intervals = f1_intervals(confusion)
    return Evaluation(
        images=count,
        accuracy=correct / count,
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        top_k=top_k,
        top_k_accuracy=top_k_accuracy(predictions, top_k),
        **probability_scores(predictions),
        macro_average=replace(
            _average("macro", predictions), f1_low=macro_interval.low, f1_high=macro_interval.high
        ),
        weighted_average=_average("weighted", predictions),
        classes=_class_scores(predictions, confusion, class_intervals),
        confusion=confusion,
    )


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Share of images whose true class is among the `k` most probable.

    Ties count against the model: a class as probable as the true one ranks before it.
    """
    probabilities = predictions.probabilities
    true = np.take_along_axis(probabilities, predictions.labels[:, None], axis=1)
    rank = (probabilities >= true).sum(axis=1)
    return float((rank <= k).mean())


def _class_scores(
    predictions: Predictions, confusion: Int64Array, intervals: tuple[Interval | None, ...]
) -> tuple[ClassScores, ...]:
    per_class = precision_recall_fscore_support(
        predictions.labels,
        predictions.predicted,
        labels=np.arange(len(confusion)),
        zero_division=0,
    )
    rows = zip(predictions.class_names, *per_class, intervals, confusion, strict=True)
    scores = []
    for number, (name, precision, recall, f1, support, f1_interval, row) in enumerate(rows):
        own = ClassScores(name, float(precision), float(recall), float(f1), int(support))
        of_recall = wilson(int(row[number]), int(support))
        if of_recall and f1_interval:
            own = replace(
                own,
                recall_low=of_recall.low,
                recall_high=of_recall.high,
                f1_low=f1_interval.low,
                f1_high=f1_interval.high,
            )
        scores.append(own)
    return tuple(scores)


def _average(average: str, predictions: Predictions) -> ClassScores:
    precision, recall, f1, _ = precision_recall_fscore_support(
        predictions.labels,
        predictions.predicted,
        labels=np.unique(predictions.labels),
        average=average,
        zero_division=0,
    )
    return ClassScores(
        f"{average} average", float(precision), float(recall), float(f1), len(predictions)
    )
