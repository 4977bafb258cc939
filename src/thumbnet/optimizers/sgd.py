"""`sgd`: stochastic gradient descent with Nesterov momentum."""

from typing import TYPE_CHECKING

from thumbnet.recipe import Optimizer
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras


def build(settings: Optimizer) -> "keras.optimizers.Optimizer":
    """See `thumbnet.optimizers`."""
    return prepare_keras().optimizers.SGD(
        settings.learning_rate,
        momentum=settings.momentum,
        nesterov=True,
        weight_decay=settings.weight_decay or None,
    )
