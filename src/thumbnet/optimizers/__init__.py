"""The optimizers that recipes can name, one file each.

The file `NAME.py` defines the optimizer NAME. It contains a function `build`, which takes the
recipe's `[optimizer]` table, a `thumbnet.recipe.Optimizer`, and returns a
`keras.optimizers.Optimizer`. Before each step, training sets its learning rate according to the
recipe's schedule.
"""

from typing import TYPE_CHECKING, Any, Protocol

from thumbnet import registry

if TYPE_CHECKING:
    import keras


class OptimizerPart(Protocol):
    """The contents of a file of this folder, or of a registered optimizer."""

    def build(self, settings: Any) -> "keras.optimizers.Optimizer":
        """The optimizer with a recipe's settings."""


def optimizer(name: str) -> OptimizerPart:
    """The optimizer of that name.

    Raises:
        InputError: there is no such optimizer, or its package cannot be imported.
    """
    found: OptimizerPart = registry.part("optimizer", name)
    return found
