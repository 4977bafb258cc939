"""A classifier with scikit-learn's interface, trained by recipes."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from thumbnet.data.dataset import Dataset, LabelledImages, UInt8Array
from thumbnet.engines.contract import predict_in_batches
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.models import finished_model
from thumbnet.recipe import Recipe
from thumbnet.training.progress import SilentDisplay, choose_display
from thumbnet.training.session import fit, new_training

Array = npt.NDArray[Any]


class ThumbnetClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An image classifier for scikit-learn: cross-validation, grid search, pipelines.

    It trains on all images passed to `fit`; none are held out, unless the recipe stops by the
    validation accuracy. Only the model is kept. For a run directory with an evaluation, a report
    and exports, use `thumbnet.train`.

    Images are arrays of shape (n, height, width) or (n, height, width, 1 or 3). Rows of numbers,
    of shape (n, features), are reshaped to `image_shape`, or treated as images one pixel high.
    Whole numbers from 0 to 255 are used as pixels, and numbers from 0 to 1 are scaled to 0 to 255.
    Any other range is mapped to 0 to 255, from the smallest and largest number passed to `fit`.

    Args:
        recipe: a recipe, the name of a shipped one, or the path of a file.
        epochs: number of epochs, in place of the recipe's.
        settings: other values of the recipe to override, by their dotted keys, such as
            {"optimizer.learning_rate": 0.01}.
        image_shape: height and width, or height, width and channels, of images given as rows.
        random_state: the random seed: a number, or a NumPy `RandomState` to draw one from; None
            for the recipe's seed.
        verbose: whether to show the progress on standard error.

    Attributes:
        classes_: the labels passed to `fit`, sorted.
        n_features_in_: number of values in an image or row.
        image_shape_: height, width and channels of the images.
        pixel_range_: the values that were mapped to 0 and to 255.
        model_: a Keras model from uint8 pixels to probabilities in the order of `classes_`.
        history_: a row of metrics for each epoch.
        n_iter_: the number of epochs.
    """

    def __init__(
        self,
        recipe: Recipe | str | Path = "cnn",
        *,
        epochs: int | None = None,
        settings: Mapping[str, Any] | None = None,
        image_shape: Sequence[int] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ) -> None:
        self.recipe = recipe
        self.epochs = epochs
        self.settings = settings
        self.image_shape = image_shape
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> Self:  # noqa: N803, scikit-learn's name
        """Train a model.

        Args:
            X: images, see the class.
            y: a label for each image, of shape (n,): numbers or text.

        Raises:
            ValueError: the images or the labels cannot be used (`InputError` is a subclass).
            JobError: the training failed.
        """
        images: Array
        images, y = validate_data(self, X, y, ensure_2d=_are_rows(X), allow_nd=True)
        self.n_features_in_ = math.prod(images.shape[1:])
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(
                f"the labels have only one class, {self.classes_[0]}; a classifier needs at least "
                "two classes"
            )
        self.image_shape_ = self._shape_of_images(images)
        self.pixel_range_ = _pixel_range(images)
        train = LabelledImages(self._pixels(images), labels.astype(np.int64))
        names = tuple(map(str, range(len(self.classes_))))
        # A dataset needs a test split; it is not used here.
        dataset = Dataset("arrays", names, train, train.take([0]), "arrays")
        display = choose_display() if self.verbose else SilentDisplay()
        with (
            tempfile.TemporaryDirectory(prefix="thumbnet-") as directory,
            new_training(Path(directory) / "run", self._recipe(), dataset, display) as training,
        ):
            fit(training, display)
            self.model_ = finished_model(training.model, self.image_shape_)
            self.history_ = list(training.state.history)
        self.n_iter_ = len(self.history_)
        return self

    def predict_proba(self, X: npt.ArrayLike) -> Float32Array:  # noqa: N803
        """Class probabilities, float32 of shape (n, classes), not calibrated.

        Raises:
            ValueError: the images do not have the shape of those passed to `fit`.
        """
        check_is_fitted(self)
        images: Array = validate_data(self, X, reset=False, ensure_2d=_are_rows(X), allow_nd=True)
        if (shape := self._shape_of_images(images)) != self.image_shape_:
            raise InputError(
                f"the images have the shape {shape}, but the model was fitted to images of shape "
                f"{self.image_shape_}"
            )
        return predict_in_batches(
            lambda batch: np.asarray(self.model_.predict_on_batch(batch)),
            self._pixels(images),
            self.image_shape_,
            classes=len(self.classes_),
        )

    def predict(self, X: npt.ArrayLike) -> Array:  # noqa: N803
        """The most probable class of each image, an array of shape (n,) like the labels.

        Raises:
            ValueError: the images do not have the shape of those passed to `fit`.
        """
        # First, because a model that was not fitted has no classes.
        probabilities = self.predict_proba(X)
        predicted: Array = self.classes_[probabilities.argmax(axis=1)]
        return predicted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _recipe(self) -> Recipe:
        recipe = self.recipe if isinstance(self.recipe, Recipe) else Recipe.read(self.recipe)
        stopping = recipe.stopping
        changed: dict[str, Any] = dict(self.settings or {})
        if not (stopping.patience or stopping.target_accuracy):
            changed.setdefault("validation", 0)
        if self.epochs is not None:
            changed["epochs"] = self.epochs
        if self.random_state is not None:
            changed["seed"] = int(check_random_state(self.random_state).randint(2**31 - 1))
        return recipe.override(changed)

    def _shape_of_images(self, images: Array) -> tuple[int, int, int]:
        if images.ndim == 2:
            height, width, channels = (*(self.image_shape or (1, images.shape[1])), 1)[:3]
            if height * width * channels != images.shape[1]:
                raise InputError(
                    f"rows of {images.shape[1]} numbers are not images of image_shape "
                    f"{self.image_shape}"
                )
            return height, width, channels
        if images.ndim == 3:
            return images.shape[1], images.shape[2], 1
        if images.ndim == 4 and images.shape[3] in (1, 3):
            return images.shape[1], images.shape[2], images.shape[3]
        raise InputError(
            f"images must have the shape (n, height, width) or (n, height, width, 1 or 3), or be "
            f"rows of numbers; got the shape {images.shape}"
        )

    def _pixels(self, rows: Array) -> UInt8Array:
        images = rows.reshape(len(rows), *self.image_shape_)
        low, high = self.pixel_range_
        if images.dtype == np.uint8 and (low, high) == (0, 255):
            return images
        pixels = np.empty(images.shape, np.uint8)
        for start in range(0, len(images), 1_000):
            scaled = (images[start : start + 1_000].astype(np.float64) - low) * (255 / (high - low))
            pixels[start : start + 1_000] = np.clip(np.rint(scaled), 0, 255)
        return pixels


def _are_rows(images: npt.ArrayLike) -> bool:
    """Whether scikit-learn should check them as a table: everything except arrays of images."""
    return (images if hasattr(images, "ndim") else np.asarray(images)).ndim <= 2


def _pixel_range(images: Array) -> tuple[float, float]:
    """The values of black and white, for pixels, for fractions, or for any other numbers."""
    low, high = float(images.min()), float(images.max())
    if images.dtype == np.uint8 or (
        low >= 0 and 1 < high <= 255 and bool((np.floor(images) == images).all())
    ):
        return 0.0, 255.0
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high if high > low else low + 1
