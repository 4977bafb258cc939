"""`rand_augment`: two operations for each image, chosen at random, such as a rotation.

Source: Cubuk et al. 2020, RandAugment (arXiv 1909.13719).
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from thumbnet.augmentations import Augment, Float32Array
from thumbnet.augmentations._operations import ALL, apply
from thumbnet.data.stored import UInt8Array

# The magnitude (0 to 30 in the paper): at 1 a rotation is by 30 degrees.
Setting = Annotated[float, Field(ge=0, le=1)]
MIXES_IMAGES = False

OPERATIONS = 2


def build(setting: float) -> Augment:
    """See `thumbnet.augmentations`."""

    def augment(
        images: UInt8Array, labels: Float32Array, random: np.random.Generator
    ) -> tuple[UInt8Array, Float32Array]:
        chosen = random.integers(len(ALL), size=(len(images), OPERATIONS))
        strengths = setting * random.choice([-1.0, 1.0], size=chosen.shape)
        changed = [
            apply(image, [(ALL[n], strength) for n, strength in zip(*row, strict=True)])
            for image, *row in zip(images, chosen.tolist(), strengths.tolist(), strict=True)
        ]
        return np.stack(changed), labels

    return augment
