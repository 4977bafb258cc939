"""Two adversarial attacks with bounded pixel changes: FGSM and PGD."""

from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import LabelledImages
from thumbnet.engines import prediction_batch
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.interpretation.differentiable import DifferentiableModel

PGD_STEPS = 10
# Gradients keep the activations of all layers in memory; predictions keep those of one or two.
_GRADIENT_COST = 5


def fgsm_accuracy(model: DifferentiableModel, part: LabelledImages, radius: float) -> float:
    """Accuracy after one step of the fast gradient sign method.

    Source: Goodfellow et al., Explaining and Harnessing Adversarial Examples, 2015
    (arXiv 1412.6572).

    Args:
        model: the model to attack, with full knowledge of its weights.
        part: the images to attack.
        radius: the maximum change of a pixel value, out of 255.
    """
    return _accuracy_after(model, part, radius, step=radius, steps=1, random=None)


def pgd_accuracy(
    model: DifferentiableModel, part: LabelledImages, radius: float, seed: int = 0
) -> float:
    """Accuracy after projected gradient descent from a random start.

    An image counts as wrong if the model misclassifies it after `PGD_STEPS` steps of a quarter of
    the radius. More steps and restarts would be slightly stronger.

    Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018
    (arXiv 1706.06083).

    Args:
        model: the model to attack, with full knowledge of its weights.
        part: the images to attack.
        radius: the maximum change of a pixel value, out of 255.
        seed: seed of the random start.
    """
    random = np.random.default_rng(seed)
    return _accuracy_after(model, part, radius, step=radius / 4, steps=PGD_STEPS, random=random)


def _accuracy_after(
    model: DifferentiableModel,
    part: LabelledImages,
    radius: float,
    *,
    step: float,
    steps: int,
    random: np.random.Generator | None,
) -> float:
    right = 0
    size = max(1, prediction_batch(part.images.shape[1:]) // _GRADIENT_COST)
    for start in range(0, len(part), size):
        clean = part.images[start : start + size].astype(np.float32)
        labels = part.labels[start : start + size]
        attacked = clean
        if random is not None:
            noise = random.uniform(-radius, radius, size=clean.shape).astype(np.float32)
            attacked = np.clip(clean + noise, 0, 255)
        for _ in range(steps):
            gradient, _ = model.gradient(attacked, labels)
            attacked = _project(attacked + step * np.sign(gradient), clean, radius)
        _, probabilities = model.gradient(attacked, labels)
        right += int((probabilities.argmax(axis=1) == labels).sum())
    return right / len(part)


def _project(images: npt.NDArray[Any], clean: Float32Array, radius: float) -> Float32Array:
    within = np.clip(images, clean - radius, clean + radius)
    projected: Float32Array = np.clip(within, 0, 255).astype(np.float32)
    return projected
