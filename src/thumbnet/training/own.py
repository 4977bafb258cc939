"""Custom parts of a training: a user's Keras model, augmentation or optimizer."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thumbnet.augmentations import Augment, of_layer
from thumbnet.errors import InputError
from thumbnet.models import CUSTOM, dtype_policy, seeded
from thumbnet.recipe import Recipe
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras

ImageShape = tuple[int, int, int]
BuildModel = Callable[[ImageShape, int], "keras.Model"]
"""Builds a model from (height, width, channels) and the number of classes."""


@dataclass(frozen=True, eq=False)
class Own:
    """Custom parts in place of those of a recipe.

    Attributes:
        model: a model, or a function that builds one; in place of `[model]`.
        augment: applied to each batch after the recipe's augmentations.
        optimizer: in place of `[optimizer]` and `[schedule]`.
    """

    model: "keras.Model | BuildModel | None" = None
    augment: Augment | None = None
    optimizer: "keras.optimizers.Optimizer | None" = None

    def names(self) -> list[str]:
        """The names of the custom parts; a run records them, as its recipe cannot."""
        return [
            name for name in ("model", "augment", "optimizer") if getattr(self, name) is not None
        ]


NOTHING = Own()


def own_parts(model: Any, augment: Any, optimizer: Any) -> Own:
    """The custom parts of a caller, checked; each may be None.

    Raises:
        InputError: one has the wrong type.
    """
    if model is not None and not callable(model):  # Keras models are callable, too
        raise InputError(
            "give a recipe, the name or path of one, a keras.Model, or a function that builds one; "
            f"not {type(model).__name__}"
        )
    return Own(
        model,
        None if augment is None else _as_augment(augment),
        None if optimizer is None else _fresh_optimizer(optimizer),
    )


def custom_recipe(model: "keras.Model | BuildModel") -> Recipe:
    """The recipe for training a custom model: defaults, and the model's name."""
    name = getattr(model, "name", None) or getattr(model, "__name__", "custom")
    name = re.sub(r"[^\w.-]", "_", str(name))[:64] or "custom"
    values = {"name": name, "model": {"architecture": CUSTOM}}
    return Recipe.check(values, f"the recipe of {name}")


def custom_model(
    model: "keras.Model | BuildModel",
    image_shape: ImageShape,
    class_count: int,
    seed: int,
    precision: str,
) -> "keras.Model":
    """The custom model as a functional one with its own weights.

    A given model is copied with its weights. A model built by a function gets its initial weights
    from `seed` and computes in `precision`.

    Raises:
        InputError: it is not a functional or Sequential model, or does not fit the images or the
            number of classes.
    """
    keras = prepare_keras()
    if not isinstance(model, keras.Model):
        with seeded(seed), dtype_policy(precision):
            built = model(image_shape, class_count)
        if not isinstance(built, keras.Model):
            raise InputError(
                f"the function that builds the model returned {type(built).__name__}; it must "
                "return a keras.Model"
            )
        return _functional(built, image_shape, class_count)
    given = _functional(model, image_shape, class_count)
    try:
        with seeded(seed):
            copy = keras.models.clone_model(given)
    except Exception as error:  # a custom layer may raise anything
        raise cannot_be_saved(given, error) from error
    copy.set_weights(given.get_weights())
    return copy


def cannot_be_saved(model: "keras.Model", error: Exception) -> InputError:
    """The error for a model whose run could not be opened after training."""
    return InputError(
        f"the model {model.name} cannot be trained, because its run could not be saved and opened: "
        f"{error}; use other layers (docs/extending.md lists those that a run may contain)"
    )


def _functional(model: "keras.Model", image_shape: ImageShape, class_count: int) -> "keras.Model":
    keras = prepare_keras()
    if isinstance(model, keras.Sequential) and not model.built:
        model.build((None, *image_shape))
    try:
        inputs, outputs = model.inputs, model.outputs
    except AttributeError:
        inputs, outputs = None, None
    if not inputs or not outputs:
        raise InputError(
            f"the model {model.name} is a subclass of keras.Model, which cannot be saved without "
            "its code; give a functional or a Sequential model"
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"the model {model.name} has {len(inputs)} inputs and {len(outputs)} outputs; it must "
            "have one of each"
        )
    taken, given = tuple(inputs[0].shape[1:]), image_shape
    if len(taken) != 3 or any(t not in (None, g) for t, g in zip(taken, given, strict=True)):
        raise InputError(
            f"the model {model.name} takes inputs of shape {taken}, and the images have the shape "
            f"{image_shape}"
        )
    if tuple(outputs[0].shape[1:]) != (class_count,):
        raise InputError(
            f"the model {model.name} has outputs of shape {tuple(outputs[0].shape[1:])}; for "
            f"these images it must return one number for each of {class_count} classes"
        )
    return keras.Model(inputs[0], outputs[0], name=model.name)


def _as_augment(augment: Any) -> Augment:
    """An augmentation from Keras preprocessing layers, or from a function of a batch.

    Raises:
        InputError: it is neither.
    """
    keras = prepare_keras()
    if isinstance(augment, keras.Sequential):
        augment = augment.layers
    if isinstance(augment, keras.layers.Layer):
        augment = [augment]
    if isinstance(augment, Iterable):
        layers = [_layer_augment(layer) for layer in augment]
        return _chain(layers)
    if callable(augment):
        function: Augment = augment
        return function
    raise InputError(
        "augment must be a Keras preprocessing layer, several of them, or a function of images, "
        f"labels and a random generator; it is {type(augment).__name__}"
    )


def _layer_augment(layer: Any) -> Augment:
    keras = prepare_keras()
    if not isinstance(layer, keras.layers.Layer):
        raise InputError(f"augment contains {type(layer).__name__}, which is not a Keras layer")
    return of_layer(lambda: layer)


def _chain(steps: list[Augment]) -> Augment:
    def augment(images: Any, labels: Any, random: Any) -> Any:
        for step in steps:
            images, labels = step(images, labels, random)
        return images, labels

    return augment


def _fresh_optimizer(optimizer: Any) -> "keras.optimizers.Optimizer":
    """A fresh copy: an optimizer is bound to the first model it was used with.

    Raises:
        InputError: it is not a Keras optimizer.
    """
    keras = prepare_keras()
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise InputError(
            f"optimizer must be a Keras optimizer, such as keras.optimizers.AdamW(0.001); it is "
            f"{type(optimizer).__name__}"
        )
    return type(optimizer).from_config(optimizer.get_config())
