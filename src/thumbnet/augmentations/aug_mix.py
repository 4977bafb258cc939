"""`aug_mix`: each image is blended with three differently augmented versions of itself.

Source: Hendrycks et al. 2020, AugMix (arXiv 1912.02781), without its additional loss.
"""

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from thumbnet.augmentations import Augment, Float32Array
from thumbnet.augmentations._operations import GEOMETRIC_AND_TONAL as OPERATIONS
from thumbnet.augmentations._operations import Operation, apply
from thumbnet.data.stored import UInt8Array

# The severity (0 to 10 in the paper): the maximum strength of an operation.
Setting = Annotated[float, Field(ge=0, le=1)]
MIXES_IMAGES = False

CHAINS, LONGEST_CHAIN = 3, 3


def build(setting: float) -> Augment:
    """See `thumbnet.augmentations`."""

    def augment(
        images: UInt8Array, labels: Float32Array, random: np.random.Generator
    ) -> tuple[Float32Array, Float32Array]:
        mixed = [_mix(image, setting, random) for image in images]
        return np.stack(mixed), labels

    return augment


def _mix(image: UInt8Array, severity: float, random: np.random.Generator) -> Float32Array:
    weights = random.dirichlet([1.0] * CHAINS)
    chains = [apply(image, _chain(severity, random)) for _ in range(CHAINS)]
    mixture: npt.NDArray[np.float64] = np.tensordot(weights, np.stack(chains), axes=1)
    kept = random.beta(1.0, 1.0)
    blend: Float32Array = (kept * image + (1 - kept) * mixture).astype(np.float32)
    return blend


def _chain(severity: float, random: np.random.Generator) -> list[tuple[Operation, float]]:
    length = random.integers(1, LONGEST_CHAIN + 1)
    return [
        (OPERATIONS[random.integers(len(OPERATIONS))], severity * random.uniform(-1, 1))
        for _ in range(length)
    ]
