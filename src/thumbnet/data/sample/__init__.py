"""The bundled sample: real images from CIFAR-10, for use without a download.

It has 5,000 training and 1,000 test images, the same number of each class, in their original order
and stored losslessly. `tools/make_sample.py` selected them and wrote the files in this folder: the
labels, and a WebP mosaic for each split (lossless WebP needs 1.65 kB per image; xz with a predictor
needs 1.68 kB and PNG 2.16 kB).
"""

import json
from importlib.resources import files

import numpy as np

from thumbnet.data.dataset import Dataset, LabelledImages, UInt8Array
from thumbnet.errors import JobError

SIDE = 32
COLUMNS = 50
"""Images per row of a mosaic."""

DIGESTS = {
    "train_images": "0440e94a8a074b2160f395c459c4443262ce7c29ce985121b9d9d6fbd7dbaa62",
    "train_labels": "edaae66835e894fc054a362c4afb415d09fe2f99a86304884101339670425745",
    "test_images": "9d4e56e686e2232725deb2bfa99fd15db543dbbe444302b705cf2976e7b85517",
    "test_labels": "a04dc003e18b02765cee0fef7ac90476f9223a6f1b16bd538fd478fe7796e6a9",
}
"""SHA-256 of the content, as in `Dataset.digests`."""


def load_sample(class_names: tuple[str, ...]) -> Dataset:
    """Read the bundled sample.

    Raises:
        JobError: the installed files are damaged.
    """
    try:
        labels = json.loads((files(__name__) / "labels.json").read_text(encoding="utf-8"))
        train, test = (
            LabelledImages(_read_mosaic(f"{part}.webp"), np.array(labels[part], np.int64))
            for part in ("train", "test")
        )
        dataset = Dataset("cifar10-sample", class_names, train, test, "bundled sample")
    except (OSError, ValueError, KeyError) as error:
        raise JobError(f"the bundled sample is damaged ({error}); reinstall Thumbnet") from error
    for part, expected in DIGESTS.items():
        if dataset.digests[part] != expected:
            raise JobError(
                f"the bundled sample is damaged: the SHA-256 of {part} should be {expected}, not "
                f"{dataset.digests[part]}; reinstall Thumbnet"
            )
    return dataset


def _read_mosaic(name: str) -> UInt8Array:
    """The images of a mosaic, row by row: uint8 array of shape (n, SIDE, SIDE, 3)."""
    from PIL import Image

    with (files(__name__) / name).open("rb") as file, Image.open(file, formats=("WEBP",)) as mosaic:
        pixels = np.asarray(mosaic.convert("RGB"))
    tiles = pixels.reshape(-1, SIDE, COLUMNS, SIDE, 3).swapaxes(1, 2)
    return np.ascontiguousarray(tiles).reshape(-1, SIDE, SIDE, 3)
