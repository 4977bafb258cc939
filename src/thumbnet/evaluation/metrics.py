"""All metrics of a set of predictions. Pure functions of `Predictions`."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from thumbnet.data.dataset import Int64Array
from thumbnet.errors import InputError
from thumbnet.evaluation.calibration import probability_scores
from thumbnet.evaluation.intervals import Interval, f1_intervals, wilson
from thumbnet.evaluation.predictions import Predictions
from thumbnet.evaluation.records import ClassScores, Evaluation


def evaluate(predictions: Predictions) -> Evaluation:
    """Compute every metric of one set of predictions.

    Precision and F1 of a class that is never predicted count as 0 in the averages. Classes without
    images are excluded from the averages, so that a perfect model has a macro F1 of 1.

    Raises:
        InputError: there are no predictions.
    """
    labels, predicted = predictions.labels, predictions.predicted
    count, class_count = predictions.probabilities.shape
    every_class = np.arange(class_count)
    correct = int(predictions.correct.sum())
    interval = wilson(correct, count)
    if interval is None:
        raise InputError("there are no predictions to evaluate")
    top_k = min(5, max(1, class_count - 1))
    confusion = confusion_matrix(labels, predicted, labels=every_class)
    macro_interval, class_intervals = f1_intervals(confusion)
    macro, weighted = _average("macro", predictions), _average("weighted", predictions)
    scores = probability_scores(predictions)
    return Evaluation(
        test_images=count,
        accuracy=correct / count,
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        top_k=top_k,
        top_k_accuracy=top_k_accuracy(predictions, top_k),
        log_loss=scores.log_loss,
        expected_calibration_error=scores.expected_calibration_error,
        brier_score=scores.brier_score,
        macro_precision=macro.precision,
        macro_recall=macro.recall,
        macro_f1=macro.f1,
        macro_f1_low=macro_interval.low,
        macro_f1_high=macro_interval.high,
        weighted_precision=weighted.precision,
        weighted_recall=weighted.recall,
        weighted_f1=weighted.f1,
        classes=_class_scores(predictions, confusion, class_intervals),
        confusion=confusion.tolist(),
    )


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Fraction of images whose true class is among the `k` most probable.

    Ties count against the model: a class as probable as the true class ranks before it.
    """
    probabilities = predictions.probabilities
    true = np.take_along_axis(probabilities, predictions.labels[:, None], axis=1)
    rank = (probabilities >= true).sum(axis=1)
    return float((rank <= k).mean())


def _class_scores(
    predictions: Predictions, confusion: Int64Array, intervals: tuple[Interval | None, ...]
) -> list[ClassScores]:
    per_class = precision_recall_fscore_support(
        predictions.labels,
        predictions.predicted,
        labels=np.arange(len(confusion)),
        zero_division=0,
    )
    rows = zip(predictions.class_names, *per_class, intervals, confusion, strict=True)
    scores = []
    for number, (name, precision, recall, f1, support, f1_interval, row) in enumerate(rows):
        recall_interval = wilson(int(row[number]), int(support))
        known = support > 0
        scores.append(
            ClassScores(
                name=name,
                precision=float(precision) if known else None,
                recall=float(recall) if known else None,
                f1=float(f1) if known else None,
                support=int(support),
                recall_low=recall_interval.low if recall_interval else None,
                recall_high=recall_interval.high if recall_interval else None,
                f1_low=f1_interval.low if f1_interval else None,
                f1_high=f1_interval.high if f1_interval else None,
            )
        )
    return scores


class _Average(NamedTuple):
    precision: float
    recall: float
    f1: float


def _average(average: str, predictions: Predictions) -> _Average:
    precision, recall, f1, _ = precision_recall_fscore_support(
        predictions.labels,
        predictions.predicted,
        labels=np.unique(predictions.labels),
        average=average,
        zero_division=0,
    )
    return _Average(float(precision), float(recall), float(f1))
