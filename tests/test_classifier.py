"""`ThumbnetClassifier` is a valid scikit-learn classifier for images and rows of numbers."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from thumbnet import Dataset, InputError, Recipe, ThumbnetClassifier
from thumbnet.data.dataset import UInt8Array


def rows_recipe() -> Recipe:
    """A recipe that can learn the small tables of scikit-learn's checks."""
    values = {
        "name": "rows",
        "epochs": 15,
        "batch_size": 64,
        "validation": 0,
        "optimizer": {"learning_rate": 0.02},
        "model": {"architecture": "ann", "widths": [16]},
    }
    return Recipe.check(values, "test")


@pytest.mark.slow
@parametrize_with_checks([ThumbnetClassifier(rows_recipe())])  # type: ignore[untyped-decorator]
def test_the_checks_of_scikit_learn_pass(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def digits() -> tuple[UInt8Array, UInt8Array]:
    """Rows of 64 numbers from 0 to 16, and the digits."""
    images, labels = load_digits(return_X_y=True)
    return images[:600], labels[:600]


@pytest.fixture(scope="module")
def fitted(digits: Any) -> ThumbnetClassifier:
    images, labels = digits
    classifier = ThumbnetClassifier(rows_recipe(), epochs=5, image_shape=(8, 8), random_state=0)
    return classifier.fit(images[:400], labels[:400])


def test_digits_are_classified(fitted: ThumbnetClassifier, digits: Any) -> None:
    images, labels = digits
    assert fitted.score(images[400:], labels[400:]) > 0.7
    assert fitted.classes_.tolist() == list(range(10))
    assert fitted.n_features_in_ == 64
    assert fitted.n_iter_ == len(fitted.history_) == 5
    probabilities = fitted.predict_proba(images[400:])
    assert probabilities.shape == (200, 10)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert (fitted.predict(images[400:]) == probabilities.argmax(axis=1)).all()


def test_a_fitted_classifier_survives_pickling(fitted: ThumbnetClassifier, digits: Any) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    images, _ = digits
    np.testing.assert_array_equal(again.predict_proba(images), fitted.predict_proba(images))


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["colour", "grey with a channel", "grey"])
def test_images_of_every_shape_are_accepted(
    small: Dataset, tiny_recipe: Recipe, shape: str
) -> None:
    colour = np.asarray(small.train.images)
    images = {
        "colour": colour,
        "grey with a channel": colour[..., :1],
        "grey": colour[..., 0],
    }[shape]
    names = np.array(small.class_names)[small.train.labels]
    classifier = ThumbnetClassifier(tiny_recipe, epochs=1).fit(images, names)
    assert classifier.image_shape_ == (32, 32, 3 if shape == "colour" else 1)
    assert classifier.pixel_range_ == (0, 255)
    assert set(classifier.predict(images[:20])) <= set(small.class_names)
    floats = ThumbnetClassifier(tiny_recipe, epochs=1).fit(images / 255, names)
    np.testing.assert_allclose(
        floats.predict_proba(images / 255), classifier.predict_proba(images), atol=1e-5
    )


@pytest.mark.slow
def test_cross_validation_and_grid_search_work(small: Dataset, tiny_recipe: Recipe) -> None:
    images, labels = np.asarray(small.train.images[:120]), small.train.labels[:120] % 2
    classifier = ThumbnetClassifier(tiny_recipe, epochs=1)
    assert cross_val_score(classifier, images, labels, cv=2).shape == (2,)
    settings = [{"optimizer.learning_rate": rate} for rate in (1e-9, 3e-2)]
    grid = {"thumbnetclassifier__settings": settings}
    search = GridSearchCV(make_pipeline(classifier), grid, cv=2)
    search.fit(images, labels)
    assert search.best_params_["thumbnetclassifier__settings"] in settings
    assert search.predict(images[:3]).shape == (3,)


@pytest.mark.slow
def test_the_result_depends_on_the_seed(small: Dataset, tiny_recipe: Recipe) -> None:
    images, labels = np.asarray(small.train.images[:60]), small.train.labels[:60]
    first, same, other = (
        ThumbnetClassifier(tiny_recipe, epochs=1, random_state=seed).fit(images, labels)
        for seed in (1, 1, 2)
    )
    expected = first.predict_proba(images)
    np.testing.assert_allclose(same.predict_proba(images), expected, atol=1e-6)
    assert np.abs(other.predict_proba(images) - expected).max() > 1e-3


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (np.zeros((4, 8, 8, 2)), [0, 1, 0, 1], {}, "must have the shape"),
        (np.zeros((4, 60)), [0, 1, 0, 1], {"image_shape": (8, 8)}, "rows of 60 numbers are not"),
        (np.zeros((4, 8, 8)), [0, 0, 0, 0], {}, "only one class, 0"),
        (np.zeros((4, 8, 8)), [0, 1, 0, 1], {"recipe": "nothing"}, "no recipe nothing"),
        (np.zeros((4, 8, 8)), [0, 1, 0, 1], {"settings": {"epoch": 1}}, "did you mean epochs"),
        (np.full((4, 8, 8), np.nan), [0, 1, 0, 1], {}, "contains NaN"),
        (np.zeros((4, 8, 8)), [0.5, 1, 0, 1], {}, "Unknown label type"),
    ],
)
def test_unusable_images_and_labels_are_refused(
    images: Any, labels: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        ThumbnetClassifier(**options).fit(images, labels)


def test_images_of_a_different_shape_than_in_fit_are_refused(fitted: ThumbnetClassifier) -> None:
    with pytest.raises(
        InputError, match=r"shape \(4, 16, 1\), but .* fitted to images of shape \(8, 8, 1\)"
    ):
        fitted.predict(np.zeros((2, 4, 16)))
    with pytest.raises(ValueError, match="expecting 64 features"):
        fitted.predict(np.zeros((2, 65)))
    assert clone(fitted).get_params() == fitted.get_params()
