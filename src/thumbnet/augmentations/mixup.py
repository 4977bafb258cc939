"""`mixup`: each image and its label are blended with another of the batch.

Source: Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization (arXiv 1710.09412).
"""

from typing import Annotated

from pydantic import Field

from thumbnet.augmentations import Augment, of_layer
from thumbnet.runtime import prepare_keras

# Both parameters of the beta distribution that the weight of an image is drawn from.
Setting = Annotated[float, Field(ge=0, le=1)]
MIXES_IMAGES = True


def build(setting: float) -> Augment:
    """See `thumbnet.augmentations`."""
    return of_layer(lambda: prepare_keras().layers.MixUp(setting, dtype="float32"))
