"""`random_erasing`: a rectangle of an image is covered with noise.

Source: Zhong et al. 2020, Random Erasing Data Augmentation (arXiv 1708.04896).
"""

from typing import Annotated

from pydantic import Field

from thumbnet.augmentations import Augment, of_layer
from thumbnet.runtime import prepare_keras

# Probability that an image is changed.
Setting = Annotated[float, Field(ge=0, le=1)]
MIXES_IMAGES = False

# Squares of the rectangle's sides, relative to the image's.
SCALE = (0.02, 0.33)


def build(setting: float) -> Augment:
    """See `thumbnet.augmentations`."""
    # Given a single number, Keras would draw the probability between 0 and that number.
    probability = (setting, setting)
    return of_layer(
        lambda: prepare_keras().layers.RandomErasing(probability, scale=SCALE, dtype="float32")
    )
