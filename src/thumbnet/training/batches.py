"""Batches of augmented training images, derived from nothing but (seed, epoch, step).

The batch of any step can be made without the earlier ones, so a resumed run sees exactly the
batches of an uninterrupted one. Only NumPy is used, so every Keras backend gets the same batches.
"""

import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.augmentations import Augment
from thumbnet.data.dataset import Int64Array, LabelledImages, UInt8Array, channel_histogram
from thumbnet.data.resizing import resize_linear
from thumbnet.data.stored import StoredImages
from thumbnet.errors import InputError
from thumbnet.parallel.processes import SINGLE_PROCESS, Processes
from thumbnet.recipe import Augmentation, Balance

Float32Array = npt.NDArray[np.float32]
Rows = slice | Int64Array
Labels = npt.NDArray[Any]
"""int64 class indices of shape (n,); with `augments`, float32 probabilities (n, classes)."""

# Each use of randomness has its own stream, so that adding one changes no other.
_SHUFFLE, _FLIP_AT_FIRST, _CROP, _FLIP, _CUTOUT, _NAMED = range(6)


@dataclass(frozen=True, eq=False)
class Batches:
    """The training images in batches, in a new order each epoch.

    An incomplete last batch is dropped, so that every step has the same shape; which images that
    affects is random. With several processes, each makes only its own rows of a batch, identical
    to those of the whole batch. `augments` are applied in order, after crops, flips and cutout;
    they need `class_count`.
    """

    data: LabelledImages
    batch_size: int
    augmentation: Augmentation
    seed: int
    balance: Balance = "none"
    epochs: int = 1
    hard_example_fraction: float = 1.0
    processes: Processes = SINGLE_PROCESS
    augments: Mapping[str, Augment] = field(default_factory=dict)
    class_count: int = 0
    _frames: dict[tuple[int, int, int], UInt8Array] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def size(self) -> int:
        """Images in each batch: the batch size, or the number of images if that is smaller."""
        return min(self.batch_size, len(self.data))

    def steps(self, epoch: int) -> int:
        """Number of steps in an epoch."""
        return max(1, self._visited(epoch) // self.size)

    @property
    def total_steps(self) -> int:
        """Number of steps in all epochs."""
        return self.steps(0) + (self.epochs - 1) * self.steps(1)

    def position(self, step: int) -> tuple[int, int]:
        """The epoch of a step of the run, and the step's number within that epoch."""
        if step < self.steps(0):
            return 0, step
        epoch, within = divmod(step - self.steps(0), self.steps(1))
        return epoch + 1, within

    @property
    def sizes(self) -> set[int]:
        """The sizes of all batches; an epoch with too few images to fill one has a smaller one."""
        return {self.size, min(self.size, self._visited(1))}

    def _visited(self, epoch: int) -> int:
        return int(len(self.data) * (self.hard_example_fraction if epoch else 1.0))

    def order(self, epoch: int, losses: Float32Array | None = None) -> Int64Array:
        """The images of an epoch, in order.

        Args:
            epoch: counted from 0.
            losses: float32 of shape (n,), the loss of each image when it was last seen; used to
                choose the images of an epoch if `hard_example_fraction` is below 1.

        Returns:
            int64 indices of shape (visited images,).
        """
        random = np.random.default_rng([self.seed, _SHUFFLE, epoch])
        if self.balance == "sampling":
            return self._balanced_order(random)
        if self.hard_example_fraction == 1 or epoch == 0 or losses is None:
            return random.permutation(len(self.data))
        hardest = np.argsort(-losses, kind="stable")[: self._visited(epoch)]
        return random.permutation(hardest)

    def epoch(
        self, epoch: int, first_step: int = 0, order: Int64Array | None = None
    ) -> Iterator[tuple[UInt8Array, Labels]]:
        """The batches of one epoch from `first_step` on, each prefetched during the previous step.

        Args:
            epoch: counted from 0.
            first_step: within the epoch, counted from 0.
            order: the result of `order` for this epoch; by default computed without losses.

        Yields:
            uint8 images of shape (batch, height, width, channels) and their labels; with several
            processes, only the rows of this one.
        """
        order = self.order(epoch) if order is None else order
        with ThreadPoolExecutor(max_workers=1) as background:
            pending = None
            for step in range(first_step, self.steps(epoch)):
                following = background.submit(self._batch, epoch, step, order)
                if pending is not None:
                    yield pending.result()
                pending = following
            if pending is not None:
                yield pending.result()

    def _batch(self, epoch: int, step: int, order: Int64Array) -> tuple[UInt8Array, Labels]:
        chosen = order[step * self.size : (step + 1) * self.size]
        own = self.processes.shard(0, len(chosen))
        if not self.augments:
            return self._cropped_and_flipped(epoch, step, chosen, own)
        # Images are mixed across the whole batch, not only within the rows of one process.
        images, labels = self._cropped_and_flipped(epoch, step, chosen, slice(None))
        targets = np.eye(self.class_count, dtype=np.float32)[labels]
        for name, augment in self.augments.items():
            random = self._random(_NAMED, zlib.crc32(name.encode()), epoch, step)
            images, targets = _augmented(name, augment, images, targets, random)
        return images[own], targets[own]

    def _cropped_and_flipped(
        self, epoch: int, step: int, chosen: Int64Array, own: Rows
    ) -> tuple[UInt8Array, Int64Array]:
        images = self._cropped(epoch, chosen, own, self._random(_CROP, epoch, step))
        flipped = self._flipped(epoch, chosen, self._random(_FLIP, epoch, step))[own]
        images[flipped] = images[flipped, :, ::-1]
        if cutout := round(self.augmentation.cutout * self._scale(epoch)):
            random = self._random(_CUTOUT, epoch, step)
            _cut_out(images, cutout, self._mean_color, len(chosen), own, random)
        return images, self.data.labels[chosen[own]]

    def _random(self, *use_epoch_and_step: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *use_epoch_and_step])

    def image_size(self, epoch: int) -> tuple[int, int]:
        """Height and width of the images of an epoch."""
        height, width = self.data.images.shape[1:3]
        scale = self._scale(epoch)
        return max(1, round(height * scale)), max(1, round(width * scale))

    def _scale(self, epoch: int) -> float:
        scales = self.augmentation.progressive_resizing
        return scales[min(epoch, self.epochs - 1) * len(scales) // self.epochs]

    def weights(self, labels: Labels) -> Float32Array | None:
        """The loss weight of each image of a batch; None if all weights are equal."""
        if self.balance != "class_weights":
            return None
        if labels.ndim == 1:
            return self._class_weights[labels]
        mixed: Float32Array = labels[:, : len(self._class_weights)] @ self._class_weights
        return mixed

    def _balanced_order(self, random: np.random.Generator) -> Int64Array:
        classes = np.unique(self.data.labels)
        size = -(-len(self.data) // len(classes))
        members = [random.permutation(np.flatnonzero(self.data.labels == c)) for c in classes]
        # Small classes are repeated, large ones are subsampled.
        drawn = np.concatenate([np.resize(some, size) for some in members])
        return random.permutation(drawn)[: len(self.data)]

    @cached_property
    def _class_weights(self) -> Float32Array:
        # As in scikit-learn's "balanced": equal total weight per class, mean weight 1 per image.
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
                return self._flipped_in_first_epoch[chosen] ^ bool(epoch % 2)

    @cached_property
    def _flipped_in_first_epoch(self) -> npt.NDArray[np.bool_]:
        return np.random.default_rng([self.seed, _FLIP_AT_FIRST]).random(len(self.data)) < 0.5

    @cached_property
    def _mean_color(self) -> UInt8Array:
        histogram = channel_histogram(self.data.images)
        mean = histogram @ np.arange(256) / histogram.sum(axis=1)
        color: UInt8Array = np.round(mean).astype(np.uint8)
        return color

    def _cropped(
        self, epoch: int, chosen: Int64Array, own: Rows, random: np.random.Generator
    ) -> UInt8Array:
        size = self.image_size(epoch)
        margin = round(self.augmentation.random_crop_padding * self._scale(epoch))
        corners = None
        if margin:
            corners = random.integers(0, 2 * margin + 1, size=(2, len(chosen)))[:, own]
        chosen = chosen[own]
        if size == self.data.images.shape[1:3] or isinstance(self.data.images, StoredImages):
            # Padding batch by batch is cheap; a padded copy of all images would double the memory.
            self._frames.clear()
            frames = _pad(resize_linear(self.data.images[chosen], size), margin)
            return _crop(frames, np.arange(len(chosen)), margin, corners)
        key = (*size, margin)
        if key not in self._frames:
            # Resized once and cropped at every step: resizing batch by batch costs ten times that.
            self._frames.clear()
            self._frames[key] = _pad(resize_linear(np.asarray(self.data.images), size), margin)
        return _crop(self._frames[key], chosen, margin, corners)


def _augmented(
    name: str,
    augment: Augment,
    images: UInt8Array,
    labels: Float32Array,
    random: np.random.Generator,
) -> tuple[UInt8Array, Float32Array]:
    """Apply an augmentation, and check the shapes of its result.

    Raises:
        InputError: it changes the shape of the images or labels.
    """
    changed, mixed = augment(images, labels, random)
    if changed.shape != images.shape or mixed.shape != labels.shape:
        raise InputError(
            f"augmentation.{name} returns images of shape {changed.shape} and labels of shape "
            f"{mixed.shape}; it must keep {images.shape} and {labels.shape}"
        )
    if changed.dtype != np.uint8:
        changed = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return changed, mixed.astype(np.float32, copy=False)


def _pad(images: UInt8Array, margin: int) -> UInt8Array:
    if margin == 0:
        return images
    return np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")


def _crop(
    padded: UInt8Array, chosen: Int64Array, margin: int, corners: Int64Array | None
) -> UInt8Array:
    """Crop each chosen image out of its padded frame at its corner, of shape (2, chosen)."""
    if corners is None:
        return padded[chosen]
    height, width = padded.shape[1] - 2 * margin, padded.shape[2] - 2 * margin
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(1, 2))
    top, left = corners
    return np.ascontiguousarray(np.moveaxis(windows[chosen, top, left], 1, -1))


def _cut_out(
    images: UInt8Array,
    size: int,
    color: UInt8Array,
    batch: int,
    own: Rows,
    random: np.random.Generator,
) -> None:
    """Fill one square of each image with `color`, in place; `images` are this process's rows.

    Source: DeVries and Taylor 2017 (arXiv 1708.04552). Here the square lies within the image.
    """
    height, width = images.shape[1:3]
    size = min(size, height, width)
    top = random.integers(0, height - size + 1, size=batch)[own]
    left = random.integers(0, width - size + 1, size=batch)[own]
    for image, row, column in zip(images, top, left, strict=True):
        image[row : row + size, column : column + size] = color
