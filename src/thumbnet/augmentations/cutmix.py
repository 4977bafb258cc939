"""`cutmix`: a rectangle of each image is taken from another of its batch, and so is the label.

The label is mixed in proportion to the area. Source: Yun et al. 2019, CutMix (arXiv 1905.04899).
"""

from typing import Annotated

from pydantic import Field

from thumbnet.augmentations import Augment, of_layer
from thumbnet.runtime import prepare_keras

# Both parameters of the beta distribution that the area is drawn from; with 1 all areas are alike.
Setting = Annotated[float, Field(ge=0, le=1)]
MIXES_IMAGES = True


def build(setting: float) -> Augment:
    """See `thumbnet.augmentations`."""
    # Given one number, Keras draws the parameter itself from between 0 and it.
    parameter = (setting, setting)
    return of_layer(lambda: prepare_keras().layers.CutMix(parameter, dtype="float32"))
