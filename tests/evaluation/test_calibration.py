import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.metrics import log_loss

from thumbnet.evaluation.calibration import (
    at_temperature,
    describe_calibration,
    fit_temperature,
    rejection_table,
    risk_coverage,
    scale_probabilities,
)
from thumbnet.evaluation.predictions import Predictions
from thumbnet.evaluation.records import Rejection


def from_logits(logits: np.ndarray, labels: np.ndarray) -> Predictions:
    names = tuple("abcdefghij"[: logits.shape[1]])
    probabilities = softmax(logits, axis=1).astype(np.float32)
    return Predictions(probabilities, labels, np.arange(len(labels)), names)


def calibrated_logits(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax probabilities."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(images, 5)) * 2
    gumbel = random.gumbel(size=logits.shape)
    return logits, (logits + gumbel).argmax(axis=1)


def test_scaling_probabilities_is_scaling_logits() -> None:
    logits, _ = calibrated_logits(50, 0)
    probabilities = softmax(logits, axis=1).astype(np.float32)
    for temperature in (0.3, 1, 1.7, 10):
        scaled = scale_probabilities(probabilities, temperature)
        np.testing.assert_allclose(scaled, softmax(logits / temperature, axis=1), atol=1e-5)
        assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_a_known_temperature_is_recovered(factor: float) -> None:
    logits, labels = calibrated_logits(20_000, 1)
    assert fit_temperature(from_logits(logits * factor, labels)) == pytest.approx(factor, rel=0.05)


def test_no_other_temperature_has_a_lower_loss() -> None:
    logits, labels = calibrated_logits(500, 2)
    predictions = from_logits(3 * logits, labels)
    best = fit_temperature(predictions)

    def loss(temperature: float) -> float:
        return float(log_loss(labels, softmax(3 * logits / temperature, axis=1)))

    assert loss(best) == pytest.approx(
        min(loss(temperature) for temperature in np.geomspace(0.5, 10, 400)), abs=1e-5
    )


def test_zero_probabilities_stay_finite() -> None:
    scaled = scale_probabilities(np.array([[1, 0], [0.5, 0.5]], np.float32), 0.05)
    assert np.isfinite(scaled).all()
    assert scaled[1].tolist() == [0.5, 0.5]


def test_risk_and_coverage_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]], np.float32)
    answers = Predictions(probabilities, np.array([0, 1, 1, 1]), np.arange(4), ("a", "b"))
    curve = risk_coverage(answers)
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert curve.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    quarter, everything = rejection_table(answers, (0.25, 1.0))
    assert quarter.accuracy == pytest.approx(2 / 3)
    assert quarter.threshold == pytest.approx(0.7)
    assert everything == Rejection(rejected=1.0, threshold=None, accuracy=None)


def test_the_temperature_does_not_depend_on_the_test_images() -> None:
    logits, labels = calibrated_logits(5_000, 3)
    validation = from_logits(2 * logits, labels)
    test = from_logits(0.3 * logits, labels)
    described = describe_calibration(test, validation)
    assert described.temperature == fit_temperature(validation)
    scaled = at_temperature(test, described.temperature).probabilities
    expected = log_softmax(0.3 * logits / described.temperature, axis=1)
    np.testing.assert_allclose(np.log(scaled), expected, atol=1e-4)
    assert described.after is not None
    assert described.after.log_loss > described.before.log_loss
    assert described.validation_images == 5_000


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (0, "no validation images; temperature scaling needs at least 100"),
        (15, "only 15 validation"),
    ],
)
def test_with_few_validation_images_confidence_stays_uncalibrated(images: int, reason: str) -> None:
    logits, labels = calibrated_logits(200, 4)
    test = from_logits(logits, labels)
    validation = from_logits(3 * logits[:images], labels[:images]) if images else None
    described = describe_calibration(test, validation)
    assert described.temperature == 1
    assert described.after is None
    assert reason in (described.reason or "")
    assert described.validation_images == images


def test_a_temperature_is_fitted_from_100_validation_images_on() -> None:
    logits, labels = calibrated_logits(200, 4)
    validation = from_logits(3 * logits[:100], labels[:100])
    described = describe_calibration(from_logits(3 * logits, labels), validation)
    assert described.temperature > 1.5
    assert described.reason is None
