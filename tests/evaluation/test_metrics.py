import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    classification_report,
    f1_score,
    log_loss,
)

from thumbnet.errors import InputError
from thumbnet.evaluation.calibration import expected_calibration_error
from thumbnet.evaluation.metrics import evaluate
from thumbnet.evaluation.mistakes import most_confident_mistakes
from thumbnet.evaluation.predictions import Predictions


def make(probabilities: list[list[float]], labels: list[int]) -> Predictions:
    return Predictions(
        np.array(probabilities, np.float32),
        np.array(labels, np.int64),
        np.arange(len(labels)),
        tuple("abcdefghij"[: len(probabilities[0])]),
    )


@st.composite
def some_predictions(draw: st.DrawFn) -> Predictions:
    count, classes = draw(st.integers(1, 40)), draw(st.integers(2, 10))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    probabilities = random.dirichlet(np.full(classes, 0.5), size=count)
    return make(probabilities.tolist(), random.integers(classes, size=count).tolist())


@pytest.mark.slow
@settings(deadline=None)
@given(some_predictions())
def test_metrics_equal_those_of_scikit_learn(predictions: Predictions) -> None:
    evaluation = evaluate(predictions)
    classes = range(len(predictions.class_names))
    report = classification_report(
        predictions.labels,
        predictions.predicted,
        labels=classes,
        target_names=predictions.class_names,
        output_dict=True,
        zero_division=0,
    )
    for scores in evaluation.classes:
        expected = report[scores.name]
        if scores.support == 0:
            assert (scores.precision, scores.recall, scores.f1) == (None, None, None)
            continue
        assert scores.precision == pytest.approx(expected["precision"])
        assert scores.recall == pytest.approx(expected["recall"])
        assert scores.f1 == pytest.approx(expected["f1-score"])
        assert scores.support == expected["support"]
    macro = f1_score(
        predictions.labels,
        predictions.predicted,
        labels=np.unique(predictions.labels),
        average="macro",
    )
    assert evaluation.macro_average.f1 == pytest.approx(macro)
    assert evaluation.weighted_average.f1 == pytest.approx(report["weighted avg"]["f1-score"])
    assert evaluation.accuracy == accuracy_score(predictions.labels, predictions.predicted)
    exact = predictions.probabilities.astype(float)
    exact /= exact.sum(axis=1, keepdims=True)
    assert evaluation.log_loss == pytest.approx(log_loss(predictions.labels, exact, labels=classes))
    assert evaluation.accuracy_low <= evaluation.accuracy <= evaluation.accuracy_high
    assert evaluation.accuracy <= evaluation.top_k_accuracy <= 1
    assert evaluation.confusion_matrix.sum() == len(predictions)


def test_brier_score_of_two_classes_is_twice_scikit_learns() -> None:
    predictions = make([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], [0, 1, 1])
    binary = brier_score_loss(predictions.labels, predictions.probabilities[:, 1])
    assert evaluate(predictions).brier_score == pytest.approx(2 * binary)


def test_metrics_calculated_by_hand() -> None:
    # Correct with 0.8, wrong with 0.6 (true class: 0.3), correct with 0.5.
    evaluation = evaluate(make([[0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.3, 0.2, 0.5]], [0, 2, 2]))
    assert evaluation.accuracy == pytest.approx(2 / 3)
    assert evaluation.log_loss == pytest.approx(-np.log([0.8, 0.3, 0.5]).mean(), rel=1e-6)
    assert evaluation.confusion == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    # Wilson, 2 of 3 at 95%: Agresti and Coull's formula by hand.
    assert evaluation.accuracy_low == pytest.approx(0.20765, abs=1e-4)
    assert evaluation.accuracy_high == pytest.approx(0.93851, abs=1e-4)


def test_ece_calculated_by_hand() -> None:
    # Five bins: (0.8, 1] contains 0.9 and 1.0, both correct; (0.4, 0.6] contains 0.6, wrong.
    confidence, correct = np.array([0.9, 1.0, 0.6]), np.array([True, True, False])
    expected = (2 * abs(1 - 0.95) + 1 * abs(0 - 0.6)) / 3
    assert expected_calibration_error(confidence, correct, bins=5) == pytest.approx(expected)


def test_a_perfect_model_has_no_error() -> None:
    evaluation = evaluate(make([[1, 0], [0, 1]], [0, 1]))
    assert (evaluation.accuracy, evaluation.macro_average.f1) == (1, 1)
    assert evaluation.log_loss == pytest.approx(0, abs=1e-9)
    assert evaluation.expected_calibration_error == 0
    assert evaluation.brier_score == 0


def test_ties_count_against_top_k_accuracy() -> None:
    even = make([[0.25] * 4], [3])
    assert evaluate(even).top_k_accuracy == 0  # top 3 of 4


def test_a_class_without_images_has_no_scores_and_is_left_out_of_the_averages() -> None:
    evaluation = evaluate(make([[0.9, 0.1, 0.0]], [0]))
    without = evaluation.classes[2]
    assert without.support == 0
    assert (without.precision, without.recall, without.f1, without.f1_low) == (None,) * 4
    for name in ("precision", "recall", "f1"):
        assert getattr(evaluation.macro_average, name) == 1


def test_the_most_confident_mistakes_come_first() -> None:
    predictions = make([[0.6, 0.4], [0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], [1, 1, 1, 0])
    assert most_confident_mistakes(predictions, 2).tolist() == [2, 3]
    assert most_confident_mistakes(predictions, 10).tolist() == [2, 3, 0]


def test_an_evaluation_is_valid_json() -> None:
    values = evaluate(make([[0.5, 0.5]], [0])).model_dump()
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_predictions_survive_saving(tmp_path: Path) -> None:
    predictions = make([[0.2, 0.8], [0.7, 0.3]], [1, 0])
    predictions.save(tmp_path / "p.npz")
    loaded = Predictions.load(tmp_path / "p.npz")
    np.testing.assert_array_equal(loaded.probabilities, predictions.probabilities)
    np.testing.assert_array_equal(loaded.labels, predictions.labels)
    assert loaded.class_names == predictions.class_names
    assert list(tmp_path.iterdir()) == [tmp_path / "p.npz"]


@pytest.mark.parametrize("kept", [0, 1, 100, 300])
def test_damaged_predictions_are_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "p.npz"
    make([[0.2, 0.8]], [1]).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"p.npz (is damaged|cannot be read)"):
        Predictions.load(path)


def test_pickled_predictions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    np.savez(path, probabilities=np.array([{}], object))
    with pytest.raises(InputError, match=r"p.npz (is damaged|cannot be read)"):
        Predictions.load(path)


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        ([[0.5, 0.6]], [0], "not a probability distribution"),
        ([[-0.5, 1.5]], [0], "not a probability distribution"),
        ([[0.5, 0.5]], [2], "label outside 0 to 1"),
        ([[0.5, 0.5]], [0, 1], "predictions are inconsistent"),
    ],
)
def test_invalid_predictions_are_refused(
    probabilities: list[list[float]], labels: list[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(probabilities, labels)
