"""Builds the Keras model of a recipe's `[model]` table.

Each file `architectures/NAME.py` defines the architecture NAME: a class `Parameters`, the keys of
the recipe's `[model]` table, and a function `build` that returns a `keras.Model` from raw uint8
pixels to logits.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from thumbnet import registry
from thumbnet.data.dataset import Images
from thumbnet.errors import InputError
from thumbnet.section import Section

if TYPE_CHECKING:
    import keras


CUSTOM = "custom"
"""The architecture of a run with a custom model, which no recipe can build."""


class ModelParameters(Section):
    """The keys that all architectures have; each architecture adds its own."""

    architecture: str


class Architecture(Protocol):
    """The contents of a file of `architectures/`, or of a registered architecture."""

    Parameters: type[ModelParameters]

    def build(self, parameters: Any, train_images: Images, class_count: int) -> "keras.Model":
        """An untrained model; see `build_model` for arguments and result."""


def architecture_names() -> tuple[str, ...]:
    """Names of the architectures: the files in `architectures/`, and the registered ones."""
    return registry.names("architecture")


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        InputError: there is no such architecture, or its package cannot be imported.
    """
    found: Architecture = registry.part("architecture", name)
    return found


def parameters_class(name: str) -> type[ModelParameters]:
    """The class that checks the `[model]` table of one architecture."""
    return ModelParameters if name == CUSTOM else architecture(name).Parameters


def build_model(
    parameters: ModelParameters,
    train_images: Images,
    class_count: int,
    seed: int,
    precision: str = "float32",
) -> "keras.Model":
    """Build an untrained model.

    Args:
        parameters: the checked `[model]` table.
        train_images: uint8 array of shape (n, height, width, channels); source of the pixel
            statistics that become constants of the model.
        class_count: number of logits.
        seed: seeds the initial weights and the dropout masks.
        precision: name of a Keras dtype policy, such as "mixed_bfloat16".

    Returns:
        A model from uint8 images of shape (n, height, width, channels) to float32 logits of
        shape (n, class_count).

    Raises:
        InputError: the images do not suit the architecture, or the run has a custom model.
    """
    if parameters.architecture == CUSTOM:
        raise InputError(
            "this run has a custom model, which its recipe does not contain: pass it again, as in "
            "thumbnet.resume(run, dataset, model=model)"
        )
    with seeded(seed), dtype_policy(precision):
        return architecture(parameters.architecture).build(parameters, train_images, class_count)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from `seed`, and leave the caller's generators unchanged.

    Also needed to read or clone a model, although its weights are then replaced: Keras draws a
    new seed for every layer.
    """
    # Keras draws the seed of each initializer and dropout layer from Python's generator. Its
    # `set_random_seed` would also seed TensorFlow's, whose state cannot be read and restored.
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002, for a user's function that builds a model
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)  # noqa: NPY002


@contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Build layers and models in a precision such as "float32" or "mixed_bfloat16".

    A model keeps the policy under which it was built; Keras applies loss scaling to models that
    were built under "mixed_float16".
    """
    from thumbnet.runtime import prepare_keras

    keras = prepare_keras()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def finished_model(model: "keras.Model", image_shape: tuple[int, ...]) -> "keras.Model":
    """The trained model in the form that is saved, with the same weights; see `plain_model`."""
    finished = plain_model(model, image_shape)
    finished.set_weights(model.get_weights())
    return finished


@seeded(0)
def plain_model(model: "keras.Model", image_shape: tuple[int, ...]) -> "keras.Model":
    """A model in the form that is saved, with initial weights.

    Args:
        model: from images of raw pixels, of fixed or variable size, to logits or probabilities.
        image_shape: height, width and channels of the images it will see.

    Returns:
        A model from uint8 images of shape (n, *image_shape) to probabilities of shape
        (n, classes). It computes in float32 and contains only Keras's built-in layers, so it can
        be opened without Thumbnet and gives the same results everywhere.
    """
    from thumbnet.runtime import prepare_keras

    keras = prepare_keras()

    def plain(layer: Any) -> Any:
        kind = getattr(layer, "plain", layer.__class__)
        return kind.from_config(layer.get_config() | {"dtype": "float32"})

    pixels = converted = keras.Input(image_shape, dtype="uint8", name="pixels")
    if model.inputs[0].dtype != "uint8":
        converted = keras.layers.Rescaling(1.0, dtype="float32", name="to_float")(pixels)

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        return layer(*(converted if x is pixels else x for x in arguments), **options)

    outputs = model.outputs[0]
    if not gives_probabilities(model):
        outputs = keras.layers.Softmax(name="probabilities")(outputs)
    return keras.models.clone_model(
        keras.Model(model.inputs[0], outputs, name=model.name),
        pixels,
        clone_function=plain,
        call_function=call,
        recursive=True,
    )


def gives_probabilities(model: "keras.Model") -> bool:
    """Whether a model ends with a softmax, and so gives probabilities rather than logits."""
    from thumbnet.runtime import prepare_keras

    keras = prepare_keras()
    last, softmax = model.layers[-1], keras.activations.softmax
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is softmax
