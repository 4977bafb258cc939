from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thumbnet.errors import InputError
from thumbnet.evaluation.mistakes import (
    confused_examples,
    confused_pairs,
    image_rows,
    least_confident_correct,
    likely_label_errors,
    most_confident_mistakes,
)
from thumbnet.evaluation.predictions import Predictions

# Labels a, a, a, b, b, b; the third is clearly b, the last barely b.
ANSWERS = Predictions(
    np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.1, 0.9], [0.2, 0.8], [0.55, 0.45]], "f4"),
    np.array([0, 0, 0, 1, 1, 1]),
    np.arange(10, 16),
    ("a", "b"),
)


def test_order_of_mistakes_and_of_uncertain_predictions() -> None:
    assert most_confident_mistakes(ANSWERS, 5).tolist() == [2, 5]
    assert least_confident_correct(ANSWERS, 2).tolist() == [1, 4]


def test_confident_learning_by_hand() -> None:
    # Thresholds: a 0.583, b 0.717. Only the third passes that of another class.
    assert likely_label_errors(ANSWERS).tolist() == [2]


def test_flipped_labels_are_found_among_clear_ones() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(5, size=500)
    probabilities = np.full((500, 5), 0.02)
    probabilities[np.arange(500), truth] = 0.92
    labels = truth.copy()
    flipped = np.sort(random.choice(500, 20, replace=False))
    labels[flipped] = (labels[flipped] + 1) % 5
    noisy = Predictions(probabilities.astype("f4"), labels, np.arange(500), tuple("abcde"))
    assert sorted(likely_label_errors(noisy)) == flipped.tolist()


def test_rows_name_images_by_their_ids() -> None:
    (row,) = image_rows(ANSWERS, np.array([2]))
    assert (row["image"], row["label"], row["predicted"]) == (12, "a", "b")
    assert row["name"] == ""
    assert confused_pairs(ANSWERS)[0] == {
        "true": "a",
        "predicted": "b",
        "images": 1,
        "share_of_class": 1 / 3,
    }


def test_rows_name_images_by_their_files(tmp_path: Path) -> None:
    names = (*(f"glass/glass{number}.jpg" for number in range(5)), "päper/1.jpg")
    replace(ANSWERS, part="validation", names=names).save(tmp_path / "a.npz")
    answers = Predictions.load(tmp_path / "a.npz")
    assert answers.names == names
    first, last = image_rows(answers, np.array([2, 5]))
    assert (first["part"], first["name"]) == ("validation", "glass/glass2.jpg")
    assert last["name"] == "päper/1.jpg"


def test_invalid_image_names_are_refused() -> None:
    with pytest.raises(InputError, match="6 labels but 1 image names"):
        replace(ANSWERS, names=("a.jpg",))
    with pytest.raises(InputError, match="name with control characters"):
        replace(ANSWERS, names=("\x1b[2J",) * 6)


def test_examples_are_grouped_by_pair_with_the_most_confident_first() -> None:
    answers = Predictions(
        np.array([[0.2, 0.7, 0.1], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9], [0.9, 0.1, 0.0]], "f4"),
        np.zeros(4, np.int64),
        np.arange(4),
        ("a", "b", "c"),
    )
    assert confused_examples(answers, 10).tolist() == [1, 0, 2]
    assert confused_examples(answers, 10, per_pair=1).tolist() == [1, 2]
    assert confused_examples(answers, 2).tolist() == [1, 0]
    assert confused_examples(ANSWERS, 0).tolist() == []
