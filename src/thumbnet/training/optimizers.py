"""From a recipe's `[optimizer]` and `[schedule]` to a Keras optimizer and a learning rate."""

import math
from typing import TYPE_CHECKING

from thumbnet.recipe import Optimizer, Schedule
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras


def build_optimizer(settings: Optimizer) -> "keras.optimizers.Optimizer":
    """Make the optimizer; training sets its learning rate anew before each step."""
    keras = prepare_keras()
    match settings.name:
        case "muon":
            from thumbnet.training.muon import Muon

            return Muon(
                settings.learning_rate,
                adam_lr_ratio=settings.adam_lr_ratio,
                momentum=settings.momentum,
                weight_decay=settings.weight_decay or None,
            )
        case "sgd":
            return keras.optimizers.SGD(
                settings.learning_rate,
                momentum=settings.momentum,
                nesterov=True,
                weight_decay=settings.weight_decay or None,
            )
        case "adamw":
            return keras.optimizers.AdamW(
                settings.learning_rate,
                beta_1=settings.momentum,
                weight_decay=settings.weight_decay,
            )


def lr_multiplier(schedule: Schedule, progress: float) -> float:
    """The learning rate as a multiple of its peak.

    Args:
        schedule: a recipe's `[schedule]`.
        progress: fraction of the run completed, from 0 to 1.
    """
    if progress < schedule.warmup:
        return progress / schedule.warmup
    remaining = 1 - (progress - schedule.warmup) / (1 - schedule.warmup)
    match schedule.decay:
        case "constant":
            return 1.0
        case "linear":
            share = remaining
        case "cosine":
            share = (1 - math.cos(math.pi * remaining)) / 2
    return schedule.final + (1 - schedule.final) * share
