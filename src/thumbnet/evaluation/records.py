"""Records of an evaluation, which are parts of `metrics.json`.

They are separate from the functions that compute them, which import scikit-learn: a service that
reads a run's `metrics.json` does not need it.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from thumbnet.data.stored import Int64Array
from thumbnet.record import Amount, Count, Fraction, Record, Text


class ClassScores(Record):
    """Precision, recall and F1 of one class, or an average over classes.

    The 95% intervals are those of `thumbnet.evaluation.intervals`. None stands for the scores of a
    class without images, and where no interval is computed (for the weighted average, and for the
    averages of recall).

    Attributes:
        name: name of the class or of the average.
        precision: fraction of the predictions of this class that are correct.
        recall: fraction of the images of this class that are recognised.
        f1: harmonic mean of precision and recall.
        support: number of images of this class.
        recall_low, recall_high: 95% interval of `recall`.
        f1_low, f1_high: 95% interval of `f1`.
    """

    name: Text
    precision: Fraction | None
    recall: Fraction | None
    f1: Fraction | None
    support: Count
    recall_low: Fraction | None = None
    recall_high: Fraction | None = None
    f1_low: Fraction | None = None
    f1_high: Fraction | None = None


class Evaluation(Record):
    """The result of `evaluate`; its attributes are keys of `metrics.json`.

    Attributes:
        test_images: number of images evaluated.
        accuracy: fraction of images whose most probable class is the true one (top-1).
        accuracy_low, accuracy_high: 95% Wilson interval of `accuracy`.
        top_k_accuracy: fraction of images whose true class is among the `top_k` most probable.
        top_k: 5, or one less than the number of classes if there are five or fewer.
        log_loss: mean negative log-likelihood in nats.
        expected_calibration_error: ECE with 15 bins of equal width.
        brier_score: mean squared distance of the probabilities from the one-hot label, 0 to 2.
        macro_precision, macro_recall, macro_f1: means over the classes that have images.
        macro_f1_low, macro_f1_high: 95% interval of `macro_f1`.
        weighted_precision, weighted_recall, weighted_f1: means weighted by class support.
        classes: one entry per class, in label order.
        confusion: numbers of images; rows are true classes, columns predicted classes.
    """

    test_images: Count
    accuracy: Fraction
    accuracy_low: Fraction
    accuracy_high: Fraction
    top_k: Count
    top_k_accuracy: Fraction
    log_loss: Amount
    expected_calibration_error: Fraction
    brier_score: Amount
    macro_precision: Fraction
    macro_recall: Fraction
    macro_f1: Fraction
    macro_f1_low: Fraction
    macro_f1_high: Fraction
    weighted_precision: Fraction
    weighted_recall: Fraction
    weighted_f1: Fraction
    classes: list[ClassScores]
    confusion: list[list[Count]]

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.2%} (95% CI {self.accuracy_low:.2%} to "
            f"{self.accuracy_high:.2%}) on {self.test_images:,} test images, macro F1 "
            f"{self.macro_f1:.3f} (95% CI {self.macro_f1_low:.3f} to {self.macro_f1_high:.3f}), "
            f"log loss {self.log_loss:.3f}, ECE {self.expected_calibration_error:.3f}"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def _repr_html_(self) -> str:
        from thumbnet.notebook import evaluation_html

        return evaluation_html(self)

    @property
    def confusion_matrix(self) -> Int64Array:
        """`confusion` as an int64 array of shape (classes, classes)."""
        return np.array(self.confusion, np.int64)

    @property
    def macro_average(self) -> ClassScores:
        """The means over the classes that have images; their support is `test_images`."""
        return ClassScores(
            name="macro average",
            precision=self.macro_precision,
            recall=self.macro_recall,
            f1=self.macro_f1,
            support=self.test_images,
            f1_low=self.macro_f1_low,
            f1_high=self.macro_f1_high,
        )

    @property
    def weighted_average(self) -> ClassScores:
        """The means weighted by the images of each class; their support is `test_images`."""
        return ClassScores(
            name="weighted average",
            precision=self.weighted_precision,
            recall=self.weighted_recall,
            f1=self.weighted_f1,
            support=self.test_images,
        )


class Scores(Record):
    """The metrics of probabilities.

    Attributes:
        log_loss: mean negative log-likelihood in nats.
        expected_calibration_error: ECE with 15 bins of equal width.
        brier_score: mean squared distance of the probabilities from the one-hot label, 0 to 2.
    """

    log_loss: Amount
    expected_calibration_error: Fraction
    brier_score: Amount


class Rejection(Record):
    """The result of rejecting the least confident predictions.

    Attributes:
        rejected: fraction of the predictions that are rejected.
        threshold: lowest confidence that is not rejected, for `--reject-below`; None if all are
            rejected.
        accuracy: accuracy on the remaining images; None if all are rejected.
    """

    rejected: Fraction
    threshold: Fraction | None
    accuracy: Fraction | None


class Calibration(Record):
    """Temperature scaling, and its effect on the test images.

    Attributes:
        temperature: divisor of the logits; 1 if none was fitted.
        validation_images: number of images it was fitted on.
        reason: why none was fitted; None if one was.
        bins: number of bins of the ECE.
        before, after: scores before and after temperature scaling; `after` is None if no
            temperature was fitted.
        risk_coverage_area: mean error rate over all coverages, see `RiskCoverage`.
        rejection: accuracy when the least confident predictions are rejected.
    """

    temperature: Annotated[float, Field(gt=0)]
    validation_images: Count
    reason: Text | None
    bins: Count
    before: Scores
    after: Scores | None
    risk_coverage_area: Fraction
    rejection: list[Rejection]
