"""Images that stay in a file and are read from it whenever they are asked for."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Some rows of a memory-mapped array of images.

    It stands where an array of shape (n, height, width, channels) would. Indexing it gives an
    ordinary array of just those images, and `numpy.asarray` one of them all; it has no
    arithmetic, so that nothing copies all of it into memory by accident.

    Attributes:
        pixels: memory-mapped uint8 array of shape (m, height, width, channels).
        rows: int64 array of shape (n,), the rows of `pixels` that are meant, in their order.
    """

    pixels: UInt8Array
    rows: Int64Array

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.pixels.shape[1:])

    @property
    def ndim(self) -> int:
        return self.pixels.ndim

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        return self.pixels.dtype

    @property
    def size(self) -> int:
        """How many numbers the images hold."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        return self.size

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | slice | npt.NDArray[np.integer]) -> UInt8Array:
        return np.asarray(self.pixels[self.rows[key]])

    def __iter__(self) -> Iterator[UInt8Array]:
        return (self[index] for index in range(len(self)))

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)

    def take(self, indices: Int64Array, axis: int = 0) -> "StoredImages":
        """Those of the images, still in their file."""
        return StoredImages(self.pixels, self.rows[indices])


Images = UInt8Array | StoredImages
"""Any number of images, in memory or in their file.

What takes `Images` does with them only what both can: length, shape, dtype, iteration, `take`, and
indexing by a number, a slice or an array of numbers, which gives an ordinary array.
"""

CHUNK_VALUES = 4_000_000
"""Values of images that are processed together when iterating over all."""


def chunks(images: Images) -> Iterator[UInt8Array]:
    """All images in order, some at a time: at most `CHUNK_VALUES` values, whatever their size."""
    at_a_time = chunk_length(images.shape)
    for start in range(0, len(images), at_a_time):
        yield images[start : start + at_a_time]


def chunk_length(shape: tuple[int, ...]) -> int:
    """How many images of an array of this shape hold at most `CHUNK_VALUES` values; 1 at least."""
    return max(1, CHUNK_VALUES // max(1, math.prod(shape[1:])))
