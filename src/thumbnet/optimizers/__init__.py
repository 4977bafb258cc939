"""Optimizers that a recipe names, one file each.

A file `NAME.py` makes the optimizer NAME. It holds a function `build`, which takes the recipe's
`[optimizer]` table, a `thumbnet.recipe.Optimizer`, and returns a `keras.optimizers.Optimizer`.
Training sets its learning rate by the recipe's schedule before each step.
"""

from typing import TYPE_CHECKING, Any, Protocol

from thumbnet import registry

if TYPE_CHECKING:
    import keras


class OptimizerPart(Protocol):
    """What a file of this folder, or what is registered, holds."""

    def build(self, settings: Any) -> "keras.optimizers.Optimizer":
        """The optimizer with the settings of a recipe."""


def optimizer(name: str) -> OptimizerPart:
    """The optimizer of that name.

    Raises:
        InputError: there is none, or its package cannot be imported.
    """
    found: OptimizerPart = registry.part("optimizer", name)
    return found
