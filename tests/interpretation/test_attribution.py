from typing import Any

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.engines import open_keras_engine
from thumbnet.interpretation.attribution import (
    first_layer_images,
    grad_cam,
    integrated_gradients,
)
from thumbnet.interpretation.differentiable import DifferentiableModel
from thumbnet.robustness.attacks import fgsm_accuracy, pgd_accuracy
from thumbnet.runs.run import Run


def with_softmax(small: Dataset, architecture: str, **parameters: object) -> Any:
    import keras

    from thumbnet.models import build_model, parameters_class

    values = {"architecture": architecture} | parameters
    checked = parameters_class(architecture).model_validate(values)
    model = build_model(checked, small.train.images, 10, seed=0)
    return keras.Model(model.input, keras.layers.Softmax()(model.output))


def test_gradients_match_finite_differences(finished_run: Run, sample: Dataset) -> None:
    model = DifferentiableModel(open_keras_engine(finished_run).model)
    pixels, label = sample.test.images[:1].astype(np.float32), sample.test.labels[:1]
    gradient, probabilities = model.gradient(pixels, label)
    saved = finished_run.predictions().probabilities[:1]
    np.testing.assert_allclose(probabilities, saved, atol=1e-5)
    place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
    losses = []
    for change in (2, -2):
        moved = pixels.copy()
        moved[place] += change
        losses.append(-np.log(model.gradient(moved, label)[1][0, label[0]]))
    assert gradient[place] == pytest.approx((losses[0] - losses[1]) / 4, rel=0.05)


def test_integrated_gradients_sum_to_the_difference_of_log_probabilities(
    finished_run: Run, sample: Dataset
) -> None:
    model = open_keras_engine(finished_run).model
    images, labels = sample.test.images[:5], sample.test.labels[:5]
    attributions = integrated_gradients(model, images, labels)
    grey = np.full(images.shape, 127.5, np.float32)
    scores = [
        np.log(DifferentiableModel(model).gradient(pixels, labels)[1][np.arange(5), labels])
        for pixels in (images.astype(np.float32), grey)
    ]
    assert attributions.shape == images.shape[:3]
    np.testing.assert_allclose(
        attributions.sum(axis=(1, 2)), scores[0] - scores[1], rtol=0.1, atol=0.05
    )


def test_grad_cam_highlights_images_of_a_convolutional_network(small: Dataset) -> None:
    model = with_softmax(small, "cnn", widths=[8, 8])
    heat = grad_cam(model, small.test.images[:3], small.test.labels[:3])
    assert heat is not None
    assert heat.shape == (3, 32, 32)
    assert heat.min() >= 0
    assert heat.max() == 1
    pictures = first_layer_images(model)
    assert pictures is not None
    assert pictures.shape == (24, 2, 2, 3)


def test_grad_cam_needs_convolutions(finished_run: Run, sample: Dataset) -> None:
    model = open_keras_engine(finished_run).model
    assert grad_cam(model, sample.test.images[:1], sample.test.labels[:1]) is None


def test_first_layer_images_include_fixed_linear_layers(small: Dataset) -> None:
    model = with_softmax(small, "ann", widths=[5], shrink=2, pca_components=20)
    pictures = first_layer_images(model)
    assert pictures is not None
    assert pictures.shape == (5, 16, 16, 3)
    whiten, dense = (np.asarray(model.get_layer(n).kernel) for n in ("whiten", "dense_1"))
    weights = (whiten @ dense).T.reshape(5, 16, 16, 3)
    strongest = weights[(weights**2).sum(axis=(1, 2, 3)).argmax()]
    expected = 127.5 + 127.5 * strongest / np.abs(strongest).max()
    assert np.abs(pictures[0] - expected).max() <= 0.51


def test_attacks_reduce_accuracy_and_stay_within_their_radius(
    finished_run: Run, sample: Dataset
) -> None:
    model = DifferentiableModel(open_keras_engine(finished_run).model)
    part = sample.test.take(range(60))
    clean = finished_run.predictions().correct[:60].mean()
    assert fgsm_accuracy(model, part, 0) == pytest.approx(clean)
    assert pgd_accuracy(model, part, 8) <= fgsm_accuracy(model, part, 2) <= clean
    assert pgd_accuracy(model, part, 8) < clean
