"""Finding images with identical pixels."""

import hashlib

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import Dataset
from thumbnet.data.stored import Images, chunks

DIGEST_BYTES = 16


def image_digests(images: Images) -> bytes:
    """One digest of `DIGEST_BYTES` per image; images with the same pixels have the same digest."""
    return b"".join(
        hashlib.blake2b(image.tobytes(), digest_size=DIGEST_BYTES).digest()
        for some in chunks(images)
        for image in some
    )


def seen_before_the_test(dataset: Dataset) -> npt.NDArray[np.bool_]:
    """Mask of the test images that are also training or validation images: bool, shape (n,)."""
    test = np.frombuffer(image_digests(dataset.test.images), f"V{DIGEST_BYTES}")
    known = [image_digests(part.images) for name, part in dataset.parts.items() if name != "test"]
    return np.isin(test, np.frombuffer(b"".join(known), f"V{DIGEST_BYTES}"))
