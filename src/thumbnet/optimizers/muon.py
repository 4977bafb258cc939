"""`muon`: orthogonal steps for the kernels of hidden layers, Adam for the rest."""

from typing import TYPE_CHECKING

from thumbnet.errors import InputError
from thumbnet.recipe import Optimizer

if TYPE_CHECKING:
    import keras


def build(settings: Optimizer) -> "keras.optimizers.Optimizer":
    """See `thumbnet.optimizers`.

    Raises:
        InputError: the settings include weight decay.
    """
    from thumbnet.training.muon import Muon

    if settings.weight_decay:
        raise InputError(
            f"optimizer.weight_decay = {settings.weight_decay:g} has no effect with muon, which "
            "keeps the norm of every kernel fixed: set it to 0, or choose sgd or adamw as "
            "optimizer.name"
        )
    return Muon(
        settings.learning_rate,
        adam_lr_ratio=settings.adam_lr_ratio,
        momentum=settings.momentum,
    )
