"""Whether a confidence can be believed, and how to mend it. Pure functions of `Predictions`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.evaluation.predictions import Float32Array, Predictions
from thumbnet.evaluation.records import Calibration, Rejection, Scores

CALIBRATION_BINS = 15  # equal widths, as in Guo et al. 2017
REJECTED_FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.5)
# From how many validation images on a temperature is fitted. On fewer, the fit makes a calibrated
# model worse, and one that is off by a quarter no better: benchmarks/temperature_size.py.
NEEDED_FOR_TEMPERATURE = 100
_TEMPERATURES = (0.05, 20.0)  # beyond these a temperature says that the split is too small


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """How often a run is wrong on the images it is surest of.

    Attributes:
        coverage: float64 array of shape (n,), the share of images answered, 1/n to 1.
        risk: float64 array of shape (n,), the share of wrong answers among those.
        area: mean of `risk`, the area under the curve; lower is better.
    """

    coverage: npt.NDArray[np.float64]
    risk: npt.NDArray[np.float64]
    area: float


def fit_temperature(validation: Predictions) -> float:
    """The temperature by which the log loss of held-out predictions is lowest.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017 (arXiv 1706.04599).

    Args:
        validation: predictions of images that neither training nor the test has seen; at least
            one.
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

    log p differs from the logits by a constant in each row, which softmax takes out again. The
    order of the classes stays, and with it the accuracy.

    Args:
        probabilities: float32 array of shape (n, classes).
        temperature: above 1 to lower the confidence, below 1 to raise it; 1 changes nothing.
    """
    if temperature == 1:
        return probabilities
    floor = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(probabilities, floor).astype(np.float64)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scaled: Float32Array = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return scaled


def at_temperature(predictions: Predictions, temperature: float) -> Predictions:
    """The same predictions with scaled probabilities."""
    scaled = scale_probabilities(predictions.probabilities, temperature)
    return replace(predictions, probabilities=scaled)


def probability_scores(predictions: Predictions) -> Scores:
    """The three figures that judge probabilities rather than answers."""
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
    """Mean gap between confidence and accuracy over bins of equal width, weighted by size.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017 (arXiv 1706.04599).
    """
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    size = np.bincount(bin_of, minlength=bins)
    summed_gap = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(summed_gap).sum() / size.sum())


def risk_coverage(predictions: Predictions) -> RiskCoverage:
    """Risk over coverage, the surest answers first.

    Source: Geifman and El-Yaniv, Selective Classification, 2017 (arXiv 1705.08500).
    """
    order = np.argsort(-predictions.confidence, kind="stable")
    answered = np.arange(1, len(predictions) + 1)
    risk = np.cumsum(~predictions.correct[order]) / answered
    return RiskCoverage(answered / len(predictions), risk, float(risk.mean()))


def rejection_table(
    predictions: Predictions, fractions: Sequence[float] = REJECTED_FRACTIONS
) -> list[Rejection]:
    """The accuracy on the rest when the least certain images are left unanswered.

    Returns:
        A row for each of `fractions`.
    """
    curve = risk_coverage(predictions)
    ranked = -np.sort(-predictions.confidence)
    rows = []
    for fraction in fractions:
        answered = len(predictions) - round(fraction * len(predictions))
        rows.append(
            Rejection(
                rejected=fraction,
                threshold=float(ranked[answered - 1]) if answered else None,
                accuracy=float(1 - curve.risk[answered - 1]) if answered else None,
            )
        )
    return rows


def describe_calibration(test: Predictions, validation: Predictions | None) -> Calibration:
    """Fit a temperature on the validation split, and say what it does to the test figures.

    With fewer than `NEEDED_FOR_TEMPERATURE` validation images, `temperature` is 1, `reason` says
    why, and `after` is None, as nothing was calibrated.
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
    there = f"only {images} validation images" if images else "no validation images"
    return f"{there}; a temperature is fitted from {NEEDED_FOR_TEMPERATURE} on"


def _exact(predictions: Predictions) -> npt.NDArray[np.float64]:
    # In float64, renormalised, so that the loss does not depend on rounding in the engine.
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return probabilities
