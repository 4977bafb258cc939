"""From a recipe's `[optimizer]` and `[schedule]` to a Keras optimizer and a learning rate."""

import math
from typing import TYPE_CHECKING

from thumbnet.optimizers import optimizer
from thumbnet.recipe import Optimizer, Schedule

if TYPE_CHECKING:
    import keras


def build_optimizer(settings: Optimizer) -> "keras.optimizers.Optimizer":
    """Build the optimizer; training sets its learning rate before each step.

    Raises:
        InputError: the settings contradict each other.
    """
    return optimizer(settings.name).build(settings)


def lr_multiplier(schedule: Schedule, progress: float, step: float = 0.0) -> float:
    """The learning rate as a multiple of its peak.

    Args:
        schedule: a recipe's `[schedule]`.
        progress: fraction of the run completed before the step, from 0 to 1.
        step: length of one step as a fraction of the run. Warmup counts it as completed: a first
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
