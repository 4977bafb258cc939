"""Images that stay on disk and are read on access."""

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
    """A selection of rows of a memory-mapped array of images.

    It can be used like an array of shape (n, height, width, channels). Indexing returns an ordinary
    array of the selected images, and `numpy.asarray` an array of all of them. It does not support
    arithmetic, so that nothing loads all images into memory by accident.

    Attributes:
        pixels: memory-mapped uint8 array of shape (m, height, width, channels).
        rows: int64 array of shape (n,), indices into `pixels`.
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
        """Number of values in all images."""
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
        """The selected images, still on disk."""
        return StoredImages(self.pixels, self.rows[indices])


Images = UInt8Array | StoredImages
"""Images in memory or on disk.

Functions that take `Images` only use what both types support: length, shape, dtype, iteration,
`take`, and indexing with an integer, a slice or an integer array, which returns an ordinary array.
"""

CHUNK_VALUES = 4_000_000
"""Maximum number of values per chunk when iterating over images."""


def chunks(images: Images) -> Iterator[UInt8Array]:
    """All images in order, in chunks of at most `CHUNK_VALUES` values."""
    at_a_time = chunk_length(images.shape)
    for start in range(0, len(images), at_a_time):
        yield images[start : start + at_a_time]


def chunk_length(shape: tuple[int, ...]) -> int:
    """Number of images of an array of this shape with at most `CHUNK_VALUES` values; at least 1."""
    return max(1, CHUNK_VALUES // max(1, math.prod(shape[1:])))
