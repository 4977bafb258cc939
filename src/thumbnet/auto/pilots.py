"""Short experiments on the training images."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thumbnet.backbones import SMALLEST_SIDE, BackboneName, load_imagenet_weights
from thumbnet.data.dataset import Images, Int64Array, LabelledImages, UInt8Array
from thumbnet.data.resizing import resize_linear
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.models import build_model
from thumbnet.models.architectures.backbone import Parameters as BackboneParameters
from thumbnet.recipe import Recipe
from thumbnet.training.batches import Batches
from thumbnet.training.optimizers import lr_multiplier
from thumbnet.training.prepare import compiled_model
from thumbnet.training.start import Features

if TYPE_CHECKING:
    import keras

BRIEF_FRACTION = 0.08
"""Of the budget, for a short training from scratch."""
FOLDS = 5
# Suits standardised features of a few hundred images.
RIDGE_PENALTY = 1_000.0
BACKBONE_IMAGES = 400
# With fewer steps a network cannot tell classes apart, whatever the budget.
FEWEST_STEPS = 60
# The first steps trace and compile the graph, so their time is not typical.
WARM_UP_STEPS = 2
PREDICTION_BATCH = 100


@dataclass(frozen=True)
class BriefTraining:
    """The result of a short training from scratch.

    Attributes:
        accuracy: accuracy on held-out images.
        images_per_second: training speed.
        mirrored: accuracy on the mirror images of the held-out images.
        flipped_classes: labels of the classes that are predicted as another class when mirrored.
        judged: number of held-out images.
    """

    accuracy: float
    images_per_second: float
    mirrored: float
    flipped_classes: tuple[int, ...]
    judged: int


@dataclass(frozen=True)
class FrozenFeatures:
    """The features of a pretrained backbone at one image size.

    Attributes:
        side: height and width of the images, in pixels.
        accuracy: cross-validated accuracy of a linear classifier on the features.
        images_per_second: speed of the forward pass.
    """

    side: int
    accuracy: float
    images_per_second: float


def train_briefly(
    recipe: Recipe,
    training: LabelledImages,
    held_out: LabelledImages,
    class_count: int,
    seconds: float,
) -> BriefTraining:
    """Train from scratch for some seconds without flips, and test on flipped images too.

    Args:
        recipe: the recipe; its number of epochs is ignored.
        training: the images to train on.
        held_out: the images to test on.
        class_count: number of logits.
        seconds: training time, not counting the compilation of the graph.
    """
    from thumbnet.runtime import prepare_keras

    keras = prepare_keras()
    model = compiled_model(recipe, training, class_count)
    batches = Batches(training, recipe.batch_size, recipe.augmentation, recipe.seed, epochs=10_000)
    one_hot = np.eye(class_count, dtype=np.float32)
    peak, step, started, timed = recipe.optimizer.learning_rate, 0, time.monotonic(), 0.0
    epoch = 0
    while timed < seconds or step < FEWEST_STEPS:
        for images, labels in batches.epoch(epoch):
            progress = min(1.0, timed / seconds)
            model.optimizer.learning_rate = peak * lr_multiplier(recipe.schedule, progress)
            model.train_on_batch(images, one_hot[labels])
            step += 1
            if step == WARM_UP_STEPS:
                started = time.monotonic()
            timed = time.monotonic() - started if step > WARM_UP_STEPS else 0.0
            if timed >= seconds and step >= FEWEST_STEPS:
                break
        epoch += 1
    upright = _answers(model, held_out.images)
    mirrored = _answers(model, mirror(held_out.images))
    keras.backend.clear_session(free_memory=False)
    return BriefTraining(
        accuracy=float((upright == held_out.labels).mean()),
        images_per_second=(step - WARM_UP_STEPS) * batches.size / max(timed, 1e-3),
        mirrored=float((mirrored == held_out.labels).mean()),
        flipped_classes=flipped_classes(held_out.labels, upright, mirrored),
        judged=len(held_out),
    )


def flipped_classes(
    labels: Int64Array, upright: Int64Array, mirrored: Int64Array
) -> tuple[int, ...]:
    """Classes that are recognised, but no longer when mirrored.

    At least half of the images of such a class are predicted correctly, and at least 60% of those,
    and at least four, are predicted wrongly when mirrored.

    Args:
        labels: int64 of shape (n,).
        upright: predictions for the images, int64 of shape (n,).
        mirrored: predictions for their mirror images, int64 of shape (n,).
    """
    found = []
    for label in np.unique(labels):
        own = labels == label
        right = int((upright[own] == label).sum())
        lost = right - int((mirrored[own] == label).sum())
        if right >= 0.5 * own.sum() and lost >= max(4, 0.6 * right):
            found.append(int(label))
    return tuple(found)


def pretrained_features(name: BackboneName, channels: int) -> Features:
    """The features of a backbone trained on ImageNet, for images of any size.

    Args:
        name: name of the backbone.
        channels: of the images.

    Raises:
        InputError: the package with its weights is not installed.
        JobError: its weights cannot be downloaded.
    """
    parameters = BackboneParameters(architecture="backbone", name=name, dropout=0)
    blank = np.zeros((1, SMALLEST_SIDE, SMALLEST_SIDE, channels), np.uint8)
    model = build_model(parameters, blank, class_count=2, seed=0)
    load_imagenet_weights(name, model)
    return Features(model)


def measure_frozen_features(
    backbone: Features, images: LabelledImages, side: int
) -> FrozenFeatures:
    """Evaluate a backbone without training it, at one image size.

    Args:
        backbone: its features.
        images: some training images of every class.
        side: height and width to resize the images to, in pixels.
    """
    resized = resize_linear(np.asarray(images.images[:]), (side, side))
    backbone.of(resized[:1])  # traces the graph
    started = time.monotonic()
    features = backbone.of(resized)
    seconds = time.monotonic() - started
    return FrozenFeatures(
        side=side,
        accuracy=cross_validated_accuracy(features, images.labels),
        images_per_second=len(resized) / seconds,
    )


def cross_validated_accuracy(features: Float32Array, labels: Int64Array) -> float:
    """Mean accuracy of a ridge classifier over stratified folds; 0 with one image of a class.

    It agrees with logistic regression within a point or two, in a tenth of the time.
    """
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    folds = min(FOLDS, int(np.bincount(labels)[np.unique(labels)].min()))
    if folds < 2:
        return 0.0
    standardised = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-3)
    splits = StratifiedKFold(folds, shuffle=True, random_state=0)
    classifier = RidgeClassifier(alpha=RIDGE_PENALTY)
    return float(cross_val_score(classifier, standardised, labels, cv=splits).mean())


def mirror(images: Images) -> UInt8Array:
    """The images with left and right exchanged."""
    return np.ascontiguousarray(np.asarray(images[:])[:, :, ::-1])


def _answers(model: "keras.Model", images: Images) -> Int64Array:
    found = [
        np.asarray(model.predict_on_batch(images[start : start + PREDICTION_BATCH])).argmax(axis=1)
        for start in range(0, len(images), PREDICTION_BATCH)
    ]
    return np.concatenate(found)
