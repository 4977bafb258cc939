"""Calibration of confidence and temperature scaling. Pure functions of `Predictions`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.evaluation.predictions import Float32Array, Predictions
from thumbnet.evaluation.records import Calibration, Rejection, Scores

CALIBRATION_BINS = 15  # equal widths, as in Guo et al. 2017
REJECTED_FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.5)
# Minimum number of validation images to fit a temperature. With fewer, the fit makes a calibrated
# model worse, and does not improve one whose temperature is off by a quarter:
# benchmarks/temperature_size.py.
NEEDED_FOR_TEMPERATURE = 100
_TEMPERATURES = (0.05, 20.0)  # a temperature outside this range means that the split is too small


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Error rate of the most confident predictions as a function of coverage.

    Attributes:
        coverage: float64 array of shape (n,), the fraction of images that are not rejected, 1/n
            to 1.
        risk: float64 array of shape (n,), the error rate on those images.
        area: mean of `risk`, the area under the curve; lower is better.
    """

    coverage: npt.NDArray[np.float64]
    risk: npt.NDArray[np.float64]
    area: float


def fit_temperature(validation: Predictions) -> float:
    """The temperature with the lowest log loss on validation predictions.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017 (arXiv 1706.04599).

    Args:
        validation: predictions for images used neither for training nor for testing; at least one.
    """
    from scipy.optimize import minimize_scalar

    def loss(logarithm: float) -> float:
        return exact_log_loss(at_temperature(validation, float(np.exp(logarithm))))

    found = minimize_scalar(
        loss, bounds=np.log(_TEMPERATURES), method="bounded", options={"xatol": 1e-5}
    )
    return float(np.exp(found.x))


def scale_probabilities(probabilities: Float32Array, temperature: float) -> Float32Array:
    """Softmax of the logits divided by `temperature`, from the softmax of the logits.

    log p differs from the logits by a constant in each row, which cancels in the softmax. The order
    of the classes does not change, and neither does the accuracy.

    Args:
        probabilities: float32 array of shape (n, classes).
        temperature: above 1 lowers the confidence, below 1 raises it; 1 changes nothing.
    """
    if temperature == 1:
        return probabilities
    floor = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(probabilities, floor).astype(np.float64)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: Float32Array = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def at_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """The same predictions after temperature scaling."""
    scaled = scale_probabilities(predictions.probabilities, temperature)
    return replace(predictions, probabilities=scaled)


def probability_scores(predictions: Predictions) -> Scores:
    """Log loss, ECE and Brier score: the metrics of probabilities."""
    one_hot = np.eye(len(predictions.class_names))[predictions.labels]
    return Scores(
        log_loss=exact_log_loss(predictions),
        expected_calibration_error=expected_calibration_error(
            predictions.confidence, predictions.correct
        ),
        brier_score=float(((_exact(predictions) - one_hot) ** 2).sum(axis=1).mean()),
    )


def exact_log_loss(predictions: Predictions) -> float:
    """Mean negative log-likelihood in nats."""
    from sklearn.metrics import log_loss

    classes = np.arange(len(predictions.class_names))
    return float(log_loss(predictions.labels, _exact(predictions), labels=classes))


def expected_calibration_error(
    confidence: npt.NDArray[np.floating[Any]],
    correct: npt.NDArray[np.bool_],
    bins: int = CALIBRATION_BINS,
) -> float:
    """ECE: mean absolute gap between confidence and accuracy over bins of equal width.

    Bins are weighted by their number of images.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017 (arXiv 1706.04599).
    """
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    size = np.bincount(bin_of, minlength=bins)
    summed_gap = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(summed_gap).sum() / size.sum())


def risk_coverage(predictions: Predictions) -> RiskCoverage:
    """The risk-coverage curve, the most confident predictions first.

    Source: Geifman and El-Yaniv, Selective Classification, 2017 (arXiv 1705.08500).
    """
    order = np.argsort(-predictions.confidence, kind="stable")
    answered = np.arange(1, len(predictions) + 1)
    risk = np.cumsum(~predictions.correct[order]) / answered
    return RiskCoverage(answered / len(predictions), risk, float(risk.mean()))


def rejection_table(
    predictions: Predictions, fractions: Sequence[float] = REJECTED_FRACTIONS
) -> list[Rejection]:
    """Accuracy on the remaining images when the least confident predictions are rejected.

    Returns:
        One row for each of `fractions`.
    """
    curve = risk_coverage(predictions)
    ranked = -np.sort(-predictions.confidence)
    rows = []
    for fraction in fractions:
        kept = len(predictions) - round(fraction * len(predictions))
        rows.append(
            Rejection(
                rejected=fraction,
                threshold=float(ranked[kept - 1]) if kept else None,
                accuracy=float(1 - curve.risk[kept - 1]) if kept else None,
            )
        )
    return rows


def describe_calibration(test: Predictions, validation: Predictions | None) -> Calibration:
    """Fit a temperature on the validation split, and score the test predictions before and after.

    With fewer than `NEEDED_FOR_TEMPERATURE` validation images, no temperature is fitted:
    `temperature` is 1, `reason` says why, and `after` is None.
    """
    images = len(validation) if validation is not None else 0
    fitted = images >= NEEDED_FOR_TEMPERATURE
    temperature = fit_temperature(validation) if validation is not None and fitted else 1.0
    calibrated = at_temperature(test, temperature)
    return Calibration(
        temperature=temperature,
        validation_images=images,
        reason=None if fitted else _why_uncalibrated(images),
        bins=CALIBRATION_BINS,
        before=probability_scores(test),
        after=probability_scores(calibrated) if fitted else None,
        risk_coverage_area=risk_coverage(calibrated).area,
        rejection=rejection_table(calibrated),
    )


def _why_uncalibrated(images: int) -> str:
    found = f"only {images} validation images" if images else "no validation images"
    return f"{found}; temperature scaling needs at least {NEEDED_FOR_TEMPERATURE}"


def _exact(predictions: Predictions) -> npt.NDArray[np.float64]:
    # In float64 and renormalised, so that the loss does not depend on rounding in the engine.
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities
