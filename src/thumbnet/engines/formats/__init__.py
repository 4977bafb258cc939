"""The export formats, one file each, with functions to write and to open a model.

The file `NAME.py` defines the format NAME. It contains

- `TARGET`, the file or folder in `exports/` to write, without quantisation;
- `MODEL`, the file in that folder to open; empty if that is `TARGET` itself;
- `PACKAGE`, the package needed to open it, and `EXTRA`, Thumbnet's extra that installs it; empty
  if there is none;
- `WRITTEN_WITH`, further packages needed to write it;
- `QUANTIZES`, whether it can be written in int8;
- `open_model`, from the path of the model to the (height, width, channels) of its images, and a
  function from uint8 images (n, height, width, channels) to probabilities (n, classes);
- `write`, which takes the prepared model, the path to write, metadata to store in it, and uint8
  images to calibrate int8, or None for float32.

Only `savedmodel` imports TensorFlow to open a model.
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
    """Interface of the files in this folder and of registered formats."""

    TARGET: str
    MODEL: str
    PACKAGE: str
    EXTRA: str
    WRITTEN_WITH: tuple[str, ...]
    QUANTIZES: bool

    def open_model(self, path: Path) -> tuple[tuple[int, int, int], PredictFn]:
        """Return the image shape and a function that predicts the probabilities of a batch."""

    def write(
        self,
        model: "keras.Model",
        path: Path,
        metadata: Metadata,
        calibration: UInt8Array | None,
    ) -> None:
        """Write a model that maps uint8 images to probabilities."""


def format_names() -> tuple[str, ...]:
    """The names of all formats."""
    return registry.names("export_format")


def export_format(name: str) -> Format:
    """The format with this name.

    Raises:
        InputError: there is no such format, or its package cannot be imported.
    """
    found: Format = registry.part("export_format", name)
    return found
