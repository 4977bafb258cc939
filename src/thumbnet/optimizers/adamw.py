"""`adamw`: Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101)."""

from typing import TYPE_CHECKING

from thumbnet.recipe import Optimizer
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras


def build(settings: Optimizer) -> "keras.optimizers.Optimizer":
    """See `thumbnet.optimizers`."""
    return prepare_keras().optimizers.AdamW(
        settings.learning_rate, beta_1=settings.momentum, weight_decay=settings.weight_decay
    )
