"""From a recipe's `[model]` table to a Keras model.

Each file `architectures/NAME.py` defines the architecture NAME: a class `Parameters`, the keys of
the recipe's `[model]` table, and a function `build` that returns a `keras.Model` from raw uint8
pixels to logits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from thumbnet import registry
from thumbnet.data.dataset import Images
from thumbnet.section import Section

if TYPE_CHECKING:
    import keras


class ModelParameters(Section):
    """The keys that all architectures have; each architecture adds its own."""

    architecture: str


class Architecture(Protocol):
    """What a file of `architectures/`, or a registered architecture, holds."""

    Parameters: type[ModelParameters]

    def build(self, parameters: Any, train_images: Images, class_count: int) -> "keras.Model":
        """An untrained model; see `build_model` for arguments and result."""


def architecture_names() -> tuple[str, ...]:
    """Names of the architectures: the files in `architectures/`, and what was registered."""
    return registry.names("architecture")


def architecture(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        InputError: there is none, or its package cannot be imported.
    """
    found: Architecture = registry.part("architecture", name)
    return found


def parameters_class(name: str) -> type[ModelParameters]:
    """The class that checks the `[model]` table of one architecture."""
    return architecture(name).Parameters


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
    """
    from thumbnet.runtime import prepare_keras

    keras = prepare_keras()
    keras.utils.set_random_seed(seed)
    with dtype_policy(precision):
        return architecture(parameters.architecture).build(parameters, train_images, class_count)


@contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Build layers and models in a precision: "float32", or "mixed_bfloat16" for example.

    A model keeps the policy under which it was built; Keras scales the loss of those that were
    built under "mixed_float16".
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


def plain_model(model: "keras.Model", image_shape: tuple[int, ...]) -> "keras.Model":
    """A model in the form that is saved, with initial weights.

    Args:
        model: from uint8 images, of fixed or variable size, to logits.
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

    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    with_probabilities = keras.Model(model.input, probabilities, name=model.name)
    return keras.models.clone_model(with_probabilities, pixels, clone_function=plain)
