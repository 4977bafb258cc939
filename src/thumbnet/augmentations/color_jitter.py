"""`color_jitter`: brightness, contrast, saturation and hue of each image are changed at random.

In the usual proportions, such as 0.4, 0.4 and 0.1 for contrast, saturation and hue. Grey images
have neither saturation nor hue.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from thumbnet.augmentations import Augment, Float32Array, of_layer
from thumbnet.data.stored import UInt8Array
from thumbnet.runtime import prepare_keras

# With 0.4, contrast and saturation are multiplied by 0.6 to 1.4, brightness is shifted by up to 0.2
# of the range of a pixel, and hue by up to 0.1 of its circle.
Setting = Annotated[float, Field(ge=0, le=1)]
MIXES_IMAGES = False


def build(setting: float) -> Augment:
    """See `thumbnet.augmentations`."""
    layers = prepare_keras().layers
    options = {"brightness_factor": setting / 2, "contrast_factor": setting, "dtype": "float32"}
    # With a factor f Keras multiplies the saturation by f / (1 - f), and shifts the hue by f / 2.
    saturation = ((1 - setting) / (2 - setting), (1 + setting) / (2 + setting))
    grey = of_layer(lambda: layers.RandomColorJitter(**options))
    color = of_layer(
        lambda: layers.RandomColorJitter(
            saturation_factor=saturation, hue_factor=setting / 2, **options
        )
    )

    def augment(
        images: UInt8Array, labels: Float32Array, random: np.random.Generator
    ) -> tuple[npt.NDArray[np.float32], Float32Array]:
        chosen = grey if images.shape[-1] == 1 else color
        return chosen(images, labels, random)

    return augment
