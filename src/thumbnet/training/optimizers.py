"""From a recipe's `[optimizer]` and `[schedule]` to a Keras optimizer and a learning rate."""

import math
from typing import TYPE_CHECKING

from thumbnet.errors import InputError
from thumbnet.recipe import Optimizer, Schedule
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras


def build_optimizer(settings: Optimizer) -> "keras.optimizers.Optimizer":
    """Make the optimizer; training sets its learning rate anew before each step.

    Raises:
        InputError: the settings contradict each other.
    """
    keras = prepare_keras()
    match settings.name:
        case "muon":
            from thumbnet.training.muon import Muon

            if settings.weight_decay:
                raise InputError(
                    f"optimizer.weight_decay = {settings.weight_decay:g} has no effect with muon, "
                    "which keeps the norm of every kernel fixed: set it to 0, or choose sgd or "
                    "adamw as optimizer.name"
                )
            return Muon(
                settings.learning_rate,
                adam_lr_ratio=settings.adam_lr_ratio,
                momentum=settings.momentum,
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


def lr_multiplier(schedule: Schedule, progress: float, step: float = 0.0) -> float:
    """The learning rate as a multiple of its peak.

    Args:
        schedule: a recipe's `[schedule]`.
        progress: fraction of the run completed before the step, from 0 to 1.
        step: fraction of the run that the step itself is. Warmup counts it as completed: a first
            step at a learning rate of 0 would change nothing.
    """
    if progress < schedule.warmup:
        return min(1.0, (progress + step) / schedule.warmup)
    remaining = 1 - (progress - schedule.warmup) / (1 - schedule.warmup)
    match schedule.decay:
        case "constant":
            return 1.0
        case "linear":
            fraction = remaining
        case "cosine":
            fraction = (1 - math.cos(math.pi * remaining)) / 2
    return schedule.final + (1 - schedule.final) * fraction
