"""Make the bundled sample from all of CIFAR-10 (about three minutes).

    python tools/make_sample.py [PATH]

PATH is an official archive or its folder; by default CIFAR-10 is read from the cache or downloaded.
The files are written to src/thumbnet/data/sample; copy the printed digests into `DIGESTS` there.
The images are the same every time; the bytes of the WebP files may depend on Pillow's version.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import thumbnet.data.sample
from thumbnet.atomic import replacing, write_text
from thumbnet.data.choice import choose_per_class
from thumbnet.data.dataset import LabelledImages, UInt8Array, content_digest, labels_digest
from thumbnet.data.sample import COLUMNS, SIDE
from thumbnet.data.sources.locate import fetch_cifar10, load_cifar10

TRAIN_PER_CLASS, TEST_PER_CLASS = 500, 100
SEED = 0
FOLDER = Path(thumbnet.data.sample.__file__).parent


def main(arguments: list[str]) -> None:
    """Choose the images, write them, and print their digests."""
    dataset = load_cifar10(arguments[0]) if arguments else fetch_cifar10(report=print)
    parts = {
        "train": choose(dataset.train, TRAIN_PER_CLASS),
        "test": choose(dataset.test, TEST_PER_CLASS),
    }
    for name, part in parts.items():
        write_mosaic(FOLDER / f"{name}.webp", np.asarray(part.images))
        print(f'    "{name}_images": "{content_digest(part.images)}",')
        print(f'    "{name}_labels": "{labels_digest(part.labels)}",')
    labels = {name: part.labels.tolist() for name, part in parts.items()}
    write_text(FOLDER / "labels.json", json.dumps(labels, separators=(",", ":")) + "\n")


def choose(part: LabelledImages, per_class: int) -> LabelledImages:
    """Choose `per_class` images of each class, and keep them in their original, mixed order."""
    return part.take(np.sort(choose_per_class(part.labels, per_class, SEED), axis=None))


def write_mosaic(path: Path, images: UInt8Array) -> None:
    """Write images of shape (n, SIDE, SIDE, 3) losslessly as tiles, COLUMNS in a row."""
    tiles = images.reshape(-1, COLUMNS, SIDE, SIDE, 3).swapaxes(1, 2)
    mosaic = Image.fromarray(tiles.reshape(-1, COLUMNS * SIDE, 3))
    with replacing(path) as file:
        mosaic.save(file, "WEBP", lossless=True, quality=100, method=6, exact=True)


if __name__ == "__main__":
    main(sys.argv[1:])
