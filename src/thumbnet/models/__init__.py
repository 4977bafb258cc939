"""From a recipe's `[model]` table to a Keras model.

A file `architectures/NAME.py` makes the architecture NAME. It holds a class `Parameters`, the keys
of a recipe's `[model]` table, and a function `build` that turns them into a `keras.Model` from raw
uint8 pixels to logits.
"""

import pkgutil
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.data.dataset import Images
from thumbnet.section import Section

if TYPE_CHECKING:
    import keras


class ModelParameters(Section):
    """What every architecture has in common; each adds its own keys."""

    architecture: str


@cache
def architectures() -> tuple[str, ...]:
    """Names of the architectures, from the files in this folder."""
    found = pkgutil.iter_modules([str(Path(__file__).parent / "architectures")])
    return tuple(sorted(module.name for module in found))


def parameters_class(architecture: str) -> type[ModelParameters]:
    """The class that checks the `[model]` table of one architecture."""
    parameters: type[ModelParameters] = _module(architecture).Parameters
    return parameters


def build_model(
    parameters: ModelParameters,
    train_images: Images,
    class_count: int,
    seed: int,
    precision: str = "float32",
) -> "keras.Model":
    """Build an untrained model of the architecture that `parameters` name.

    Args:
        parameters: the checked `[model]` table.
        train_images: uint8 array of shape (n, height, width, channels); the pixel statistics
            that are fixed inside the model are taken from it.
        class_count: number of logits.
        seed: decides the initial weights and the dropout masks.
        precision: Keras's name of what the layers compute in; "mixed_bfloat16", for example.

    Returns:
        A model from uint8 images of shape (n, height, width, channels) to float32 logits of
        shape (n, class_count).
    """
    from thumbnet.runtime import prepare_keras

    keras = prepare_keras()
    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model: Any = _module(parameters.architecture).build(parameters, train_images, class_count)
    finally:
        keras.config.set_dtype_policy(before)
    return model


def finished_model(model: "keras.Model", image_shape: tuple[int, ...]) -> "keras.Model":
    """The trained model in the form that is kept, with the same weights.

    Args:
        model: from uint8 images, perhaps of any size, to logits.
        image_shape: height, width and channels of the images it will see.

    Returns:
        A model from uint8 images of shape (n, *image_shape) to probabilities of shape
        (n, classes), which computes in float32 and is made of Keras's own layers alone, so that
        it can be opened without Thumbnet and answers the same everywhere.
    """
    from thumbnet.runtime import prepare_keras

    keras = prepare_keras()

    def plain(layer: Any) -> Any:
        kind = getattr(layer, "plain", layer.__class__)
        return kind.from_config(layer.get_config() | {"dtype": "float32"})

    pixels = keras.Input(image_shape, dtype="uint8", name="pixels")
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    with_probabilities = keras.Model(model.input, probabilities, name=model.name)
    finished = keras.models.clone_model(with_probabilities, pixels, clone_function=plain)
    finished.set_weights(model.get_weights())
    return finished


def _module(architecture: str) -> Any:
    return import_module(f"{__name__}.architectures.{architecture}")
