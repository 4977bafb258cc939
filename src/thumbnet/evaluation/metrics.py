"""Every figure that describes one set of predictions. Pure functions of `Predictions`."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from thumbnet.data.dataset import Int64Array
from thumbnet.evaluation.predictions import Predictions

CALIBRATION_BINS = 15  # equal widths, as in Guo et al. 2017


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class, or an average over classes."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


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
        macro_average, weighted_average: of `classes`; their supports are `images`.
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
        values["classes"] = [asdict(scores) for scores in self.classes]
        return values


def evaluate(predictions: Predictions) -> Evaluation:
    """Compute every metric of one set of predictions.

    Precision and F1 of a class that is never predicted count as 0, as in scikit-learn's
    classification report.
    """
    count, class_count = predictions.probabilities.shape
    labels, predicted = predictions.labels, predictions.predicted
    every_class = np.arange(class_count)
    correct = int(predictions.correct.sum())
    interval = binomtest(correct, count).proportion_ci(method="wilson")
    # In float64, renormalised, so that the loss does not depend on rounding in the engine.
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    one_hot = np.eye(class_count)[labels]
    top_k = min(5, max(1, class_count - 1))

    per_class = precision_recall_fscore_support(
        labels, predicted, labels=every_class, zero_division=0
    )
    return Evaluation(
        images=count,
        accuracy=correct / count,
        accuracy_low=float(interval.low),
        accuracy_high=float(interval.high),
        top_k=top_k,
        top_k_accuracy=top_k_accuracy(predictions, top_k),
        log_loss=float(log_loss(labels, probabilities, labels=every_class)),
        expected_calibration_error=expected_calibration_error(
            predictions.confidence, predictions.correct
        ),
        brier_score=float(((probabilities - one_hot) ** 2).sum(axis=1).mean()),
        macro_average=_average("macro", predictions),
        weighted_average=_average("weighted", predictions),
        classes=tuple(
            ClassScores(name, float(precision), float(recall), float(f1), int(support))
            for name, precision, recall, f1, support in zip(
                predictions.class_names, *per_class, strict=True
            )
        ),
        confusion=confusion_matrix(labels, predicted, labels=every_class),
    )


def top_k_accuracy(predictions: Predictions, k: int) -> float:
    """Share of images whose true class is among the `k` most probable.

    Ties count against the model: a class as probable as the true one ranks before it.
    """
    probabilities = predictions.probabilities
    true = np.take_along_axis(probabilities, predictions.labels[:, None], axis=1)
    rank = (probabilities >= true).sum(axis=1)
    return float((rank <= k).mean())


def expected_calibration_error(
    confidence: npt.NDArray[np.floating[Any]],
    correct: npt.NDArray[np.bool_],
    bins: int = CALIBRATION_BINS,
) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by size.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017 (arXiv 1706.04599).
    """
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    size = np.bincount(bin_of, minlength=bins)
    summed_gap = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(summed_gap).sum() / size.sum())


def most_confident_mistakes(predictions: Predictions, count: int) -> Int64Array:
    """Positions of the wrong predictions with the highest confidence, surest first."""
    wrong = np.flatnonzero(~predictions.correct)
    return wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:count]


def _average(average: str, predictions: Predictions) -> ClassScores:
    precision, recall, f1, _ = precision_recall_fscore_support(
        predictions.labels,
        predictions.predicted,
        labels=np.arange(len(predictions.class_names)),
        average=average,
        zero_division=0,
    )
    return ClassScores(
        f"{average} average", float(precision), float(recall), float(f1), len(predictions)
    )
