"""The weights that training starts from: those of a backbone, or of another run.

First the trunk gets its weights. Then the head, the layer of logits, is fitted to the features
of the training images, which takes seconds, so that fine-tuning begins with a working classifier.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thumbnet.backbones import load_imagenet_weights
from thumbnet.data.dataset import Images, Int64Array, LabelledImages
from thumbnet.data.split import stratified_subset
from thumbnet.engines import open_keras_engine
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.models.architectures.backbone import Parameters as BackboneParameters
from thumbnet.recipe import IMAGENET, Recipe
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras

HEAD = "logits"
FEATURE_BATCH = 64
# Enough to fit a head; with more images, logistic regression would take longer than an epoch.
HEAD_IMAGES = 10_000
HEAD_ITERATIONS = 200
# Inverse strength of the penalty. A weaker penalty fits better but leaves large weights, from
# which fine-tuning improves less.
HEAD_PENALTY = 0.001
# With so few images, the features of their mirror images cost little and help.
FEW_IMAGES = 1_000


def source_run(recipe: Recipe) -> Run | None:
    """The run whose weights the recipe starts from; None if it starts from other weights.

    Raises:
        InputError: `start.weights` is not the directory of a finished run.
    """
    if recipe.start.weights in ("", IMAGENET):
        return None
    run = Run.open(Path(recipe.start.weights))
    if not run.finished:
        raise InputError(f"start.weights: the run {run.path} has not finished")
    return run


def adopt_normalization(model: "keras.Model", run: Run) -> None:
    """Normalise pixels as the other run does, because its weights expect that."""
    theirs = {layer.name: layer for layer in open_keras_engine(run).model.layers}
    for ours in model.layers:
        source: Any = theirs.get(ours.name)
        if source is None or not hasattr(ours, "input_mean"):
            continue
        if len(source.input_mean) != model.input_shape[-1]:
            raise InputError(
                f"start.weights: {run.path} takes images with {len(source.input_mean)} channels, "
                f"but these have {model.input_shape[-1]}; use images or a run that match"
            )
        ours.input_mean, ours.input_variance = source.input_mean, source.input_variance
        ours.build(model.input_shape)


def load_start_weights(recipe: Recipe, model: "keras.Model") -> None:
    """Give the trunk of an untrained model the weights that the recipe names.

    Raises:
        InputError: the weights are missing, or belong to another architecture.
        JobError: they cannot be downloaded.
    """
    run = source_run(recipe)
    if run is None:
        parameters = recipe.model
        if not isinstance(parameters, BackboneParameters):
            raise InputError(
                f'start.weights = "{IMAGENET}" needs model.architecture = "backbone", not '
                f"{parameters.architecture}"
            )
        load_imagenet_weights(parameters.name, model)
        return
    theirs = {layer.name: layer.get_weights() for layer in open_keras_engine(run).model.layers}
    for layer in model.layers:
        weights = theirs.get(layer.name, [])
        if layer.name != HEAD and layer.weights:
            if [w.shape for w in weights] != [tuple(w.shape) for w in layer.weights]:
                raise InputError(
                    f"start.weights: the layer {layer.name} of {run.path} has a different shape; "
                    "use the [model] table of that run, or start from another run"
                )
            layer.set_weights(weights)


class Features:
    """The input of a model's head: features of images."""

    def __init__(self, model: "keras.Model") -> None:
        keras = prepare_keras()
        self._trunk = keras.Model(model.inputs, model.get_layer(HEAD).input)

    def of(self, images: Images) -> Float32Array:
        """The features of each image: float32 of shape (n, features)."""
        found = []
        for start in range(0, len(images), FEATURE_BATCH):
            batch = images[start : start + FEATURE_BATCH]
            # Every batch has the same size, since a new size would be traced again.
            filled = np.concatenate([batch, np.repeat(batch[:1], FEATURE_BATCH - len(batch), 0)])
            found.append(np.asarray(self._trunk.predict_on_batch(filled))[: len(batch)])
        return np.concatenate(found).astype(np.float32)


def fit_head(model: "keras.Model", training: LabelledImages, mirrored: bool) -> float:
    """Fit the logits to the features of the training images, by logistic regression.

    Args:
        model: a model whose trunk is trained.
        training: the images to fit the head to.
        mirrored: whether a mirror image belongs to the same class.

    Returns:
        The mean cross-entropy of the training images.
    """
    if len(training) > HEAD_IMAGES:
        fraction = HEAD_IMAGES / len(training)
        training = training.take(stratified_subset(training.labels, fraction, seed=0))
    trunk = Features(model)
    features, labels = trunk.of(training.images), training.labels
    if mirrored and len(training) <= FEW_IMAGES:
        flipped = np.ascontiguousarray(np.asarray(training.images[:])[:, :, ::-1])
        features = np.concatenate([features, trunk.of(flipped)])
        labels = np.concatenate([labels, labels])
    head, classes = model.get_layer(HEAD), int(model.output_shape[-1])
    kernel, bias = logistic_regression(features, labels, classes, HEAD_PENALTY, head.use_bias)
    head.set_weights([kernel, bias] if head.use_bias else [kernel])
    logits = features @ kernel + bias
    logits -= logits.max(axis=1, keepdims=True)
    likelihood = logits[np.arange(len(labels)), labels] - np.log(np.exp(logits).sum(axis=1))
    return -float(likelihood.mean())


def logistic_regression(
    features: Float32Array,
    labels: Int64Array,
    class_count: int,
    penalty: float,
    intercept: bool = True,
) -> tuple[Float32Array, Float32Array]:
    """Fit a linear classifier.

    Args:
        features: float32 of shape (n, features).
        labels: int64 of shape (n,); the bias of a class without images rules it out.
        class_count: number of logits.
        penalty: scikit-learn's `C`, the inverse of the strength of the L2 penalty.
        intercept: whether the classifier has a bias.

    Returns:
        float32 kernel of shape (features, class_count) and bias of shape (class_count,).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    std = features.std(axis=0) + 1e-3
    mean = features.mean(axis=0) if intercept else np.zeros_like(std)
    fitted: Any = LogisticRegression(C=penalty, max_iter=HEAD_ITERATIONS, fit_intercept=intercept)
    with warnings.catch_warnings():
        # It need not converge, as fine-tuning follows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit((features - mean) / std, labels)
    weights, bias = fitted.coef_, fitted.intercept_
    if len(weights) == 1:  # for two classes scikit-learn keeps the difference of the logits
        weights, bias = np.concatenate([-weights, weights]) / 2, np.array([-1, 1]) * bias / 2
    kernel = np.zeros((features.shape[1], class_count), np.float32)
    offset = np.full(class_count, -1e4 if intercept else 0, np.float32)
    kernel[:, fitted.classes_] = (weights / std).T
    offset[fitted.classes_] = bias - (weights / std) @ mean
    return kernel, offset
