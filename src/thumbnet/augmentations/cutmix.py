"""`cutmix`: a rectangle of each image is replaced by one from another image of the batch.

The labels are mixed in proportion to the area. Source: Yun et al. 2019, CutMix (arXiv 1905.04899).
"""

from typing import Annotated

from pydantic import Field

from thumbnet.augmentations import Augment, of_layer
from thumbnet.runtime import prepare_keras

# Both parameters of the beta distribution that the area is drawn from; 1 is a uniform distribution.
Setting = Annotated[float, Field(ge=0, le=1)]
MIXES_IMAGES = True


def build(setting: float) -> Augment:
    """See `thumbnet.augmentations`."""
    # Given a single number, Keras would draw the parameter between 0 and that number.
    parameter = (setting, setting)
    return of_layer(lambda: prepare_keras().layers.CutMix(parameter, dtype="float32"))
