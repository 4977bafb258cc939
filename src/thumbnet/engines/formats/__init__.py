"""Formats that a model is exported to, one file each: what writes one, and what opens it.

A file `NAME.py` makes the format NAME. It holds

- `TARGET`, the file or folder in `exports/` that is written, without quantisation;
- `MODEL`, the file in that folder that is opened; empty where `TARGET` is it;
- `PACKAGE`, what has to be importable to open it, and `EXTRA`, the extra of Thumbnet that brings
  that; empty where there is none;
- `WRITTEN_WITH`, the packages that writing needs besides;
- `QUANTIZES`, whether it can be written in int8;
- `open_model`, from the path of the model to the (height, width, channels) of its images, and a
  function from uint8 images (n, height, width, channels) to probabilities (n, classes);
- `write`, which takes the prepared model, the path to write, metadata to keep with it, and uint8
  images to calibrate int8 on, or None for float32.

None but `savedmodel` imports TensorFlow to open a model.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from thumbnet import registry
from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PredictFn
from thumbnet.engines.formats._writing import Metadata as Metadata

if TYPE_CHECKING:
    import keras


class Format(Protocol):
    """What a file of this folder, or what is registered, holds."""

    TARGET: str
    MODEL: str
    PACKAGE: str
    EXTRA: str
    WRITTEN_WITH: tuple[str, ...]
    QUANTIZES: bool

    def open_model(self, path: Path) -> tuple[tuple[int, int, int], PredictFn]:
        """The shape of the images, and what computes the probabilities of a batch."""

    def write(
        self,
        model: "keras.Model",
        path: Path,
        metadata: Metadata,
        calibration: UInt8Array | None,
    ) -> None:
        """Write a model, from uint8 images to probabilities."""


def format_names() -> tuple[str, ...]:
    """The names of all formats."""
    return registry.names("export_format")


def export_format(name: str) -> Format:
    """The format of that name.

    Raises:
        InputError: there is none, or its package cannot be imported.
    """
    found: Format = registry.part("export_format", name)
    return found
