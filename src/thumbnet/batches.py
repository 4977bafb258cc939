"""Batches of augmented training images, derived from nothing but (seed, epoch, step).

Any step's batch can be made without making the ones before it, so a run that was interrupted
goes on with exactly the batches it would have seen. NumPy alone, so that every Keras backend is
fed the same.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from thumbnet.data.dataset import Int64Array, LabelledImages, UInt8Array, channel_histogram
from thumbnet.data.stored import StoredImages
from thumbnet.recipe import Augmentation, Balance

Float32Array = npt.NDArray[np.float32]

# Each use of randomness draws from a stream of its own, so that adding one moves no other.
_SHUFFLE, _FLIP, _AUGMENT = range(3)


@dataclass(frozen=True, eq=False)
class Batches:
    """The training images in batches; each epoch visits them in a new order.

    What is left over when the images do not divide by the batch size sits out that epoch, so
    that every step has the same shape; the shuffle gives each image the same chance.
    """

    data: LabelledImages
    batch_size: int
    augmentation: Augmentation
    seed: int
    balance: Balance = "none"

    @property
    def size(self) -> int:
        """Images in each batch: the batch size, or all there are where that is fewer."""
        return min(self.batch_size, len(self.data))

    @property
    def steps_per_epoch(self) -> int:
        return len(self.data) // self.size

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[UInt8Array, Int64Array]]:
        """The batches of one epoch from `first_step` on, the next one made while one is used.

        Yields:
            uint8 images of shape (batch, height, width, channels) and int64 labels (batch,).
        """
        order = self._order(epoch)
        with ThreadPoolExecutor(max_workers=1) as background:
            pending = None
            for step in range(first_step, self.steps_per_epoch):
                following = background.submit(self._batch, epoch, step, order)
                if pending is not None:
                    yield pending.result()
                pending = following
            if pending is not None:
                yield pending.result()

    def _batch(self, epoch: int, step: int, order: Int64Array) -> tuple[UInt8Array, Int64Array]:
        chosen = order[step * self.size : (step + 1) * self.size]
        random = np.random.default_rng([self.seed, _AUGMENT, epoch, step])
        images = self._shifted(chosen, random)
        flipped = self._flipped(epoch, chosen, random)
        images[flipped] = images[flipped, :, ::-1]
        if self.augmentation.cutout:
            _cut_out(images, self.augmentation.cutout, self._mean_color, random)
        return images, self.data.labels[chosen]

    def weights(self, labels: Int64Array) -> Float32Array | None:
        """What each image of a batch counts in the loss; None where all count the same."""
        return self._class_weights[labels] if self.balance == "class_weights" else None

    def _order(self, epoch: int) -> Int64Array:
        """Which images the epoch visits, and when: int64 of shape (n,)."""
        random = np.random.default_rng([self.seed, _SHUFFLE, epoch])
        if self.balance != "sampling":
            return random.permutation(len(self.data))
        classes = np.unique(self.data.labels)
        share = -(-len(self.data) // len(classes))
        members = [random.permutation(np.flatnonzero(self.data.labels == c)) for c in classes]
        # Small classes are gone through again and again, large ones in part.
        drawn = np.concatenate([np.resize(some, share) for some in members])
        return random.permutation(drawn)[: len(self.data)]

    @cached_property
    def _class_weights(self) -> Float32Array:
        # As scikit-learn's "balanced": each class counts the same in all, an image 1 on average.
        counts = np.bincount(self.data.labels)
        weights = len(self.data) / (np.count_nonzero(counts) * np.maximum(counts, 1))
        return weights.astype(np.float32)

    def _flipped(
        self, epoch: int, chosen: Int64Array, random: np.random.Generator
    ) -> npt.NDArray[np.bool_]:
        match self.augmentation.flip:
            case "none":
                return np.zeros(len(chosen), dtype=bool)
            case "random":
                return random.random(len(chosen)) < 0.5
            case "alternating":
                return self._flipped_at_first[chosen] ^ bool(epoch % 2)

    @cached_property
    def _flipped_at_first(self) -> npt.NDArray[np.bool_]:
        return np.random.default_rng([self.seed, _FLIP]).random(len(self.data)) < 0.5

    @cached_property
    def _mean_color(self) -> UInt8Array:
        histogram = channel_histogram(self.data.images)
        mean = histogram @ np.arange(256) / histogram.sum(axis=1)
        color: UInt8Array = np.round(mean).astype(np.uint8)
        return color

    def _shifted(self, chosen: Int64Array, random: np.random.Generator) -> UInt8Array:
        margin = self.augmentation.shift
        if isinstance(self.data.images, StoredImages):
            images = _pad(self.data.images[chosen], margin)
            return _shift(images, np.arange(len(chosen)), margin, random)
        return _shift(self._padded, chosen, margin, random)

    @cached_property
    def _padded(self) -> UInt8Array:
        # Padded once and cropped at every step: reflecting each batch anew costs ten times that.
        return _pad(np.asarray(self.data.images), self.augmentation.shift)


def _pad(images: UInt8Array, margin: int) -> UInt8Array:
    if margin == 0:
        return images
    return np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")


def _shift(
    padded: UInt8Array, chosen: Int64Array, margin: int, random: np.random.Generator
) -> UInt8Array:
    """Crop each chosen image out of its padded frame, up to `margin` pixels off the centre."""
    if margin == 0:
        return padded[chosen]
    height, width = padded.shape[1] - 2 * margin, padded.shape[2] - 2 * margin
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = random.integers(0, 2 * margin + 1, size=(2, len(chosen)))
    return np.ascontiguousarray(np.moveaxis(windows[chosen, top, left], 1, -1))


def _cut_out(images: UInt8Array, size: int, color: UInt8Array, random: np.random.Generator) -> None:
    """Fill one square of each image, in place, with `color`.

    Source: DeVries and Taylor 2017 (arXiv 1708.04552). Here the square lies within the image.
    """
    count, height, width, _ = images.shape
    size = min(size, height, width)
    top = random.integers(0, height - size + 1, size=count)
    left = random.integers(0, width - size + 1, size=count)
    for image, row, column in zip(images, top, left, strict=True):
        image[row : row + size, column : column + size] = color
