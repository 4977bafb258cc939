"""Test images that the web page offers as examples, with their true class."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from thumbnet.data.dataset import LabelledImages, UInt8Array
from thumbnet.data.sources.cifar10 import CLASS_NAMES

COUNT = 8
_BUNDLED = Path(__file__).parent / "page" / "files" / "examples"
# Test images of CIFAR-10 with their true class, and an image of none of its classes.
_CIFAR10 = {
    "cat": "cat",
    "ship": "ship",
    "frog": "frog",
    "horse": "horse",
    "automobile": "automobile",
    "airplane": "airplane",
    "unsure": "truck",
    "tiles": None,
}


@dataclass(frozen=True)
class Example:
    """An image as PNG, and its true class; None if it shows none of the classes."""

    class_name: str | None
    png: bytes

    def to_dict(self) -> dict[str, str | None]:
        image = "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")
        return {"class_name": self.class_name, "image": image}


def bundled_examples(class_names: Sequence[str]) -> list[Example]:
    """The examples that come with the package; none for models of other classes than CIFAR-10's."""
    if tuple(class_names) != CLASS_NAMES:
        return []
    return [
        Example(class_name, (_BUNDLED / f"{name}.png").read_bytes())
        for name, class_name in _CIFAR10.items()
    ]


def examples_of(test: LabelledImages, class_names: Sequence[str]) -> list[Example]:
    """Test images drawn with a fixed seed, of as many different classes as possible."""
    earlier: Counter[int] = Counter()
    turns = []
    for position in np.random.default_rng(0).permutation(len(test)).tolist():
        label = int(test.labels[position])
        turns.append((earlier[label], position))
        earlier[label] += 1
    chosen = [position for _, position in sorted(turns, key=lambda turn: turn[0])[:COUNT]]
    return [Example(class_names[int(test.labels[i])], _png(test.images[i])) for i in chosen]


def _png(image: UInt8Array) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG")
    return file.getvalue()
