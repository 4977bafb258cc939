"""Images that stay on disk, so that they are never all in memory."""

import tracemalloc
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset, LabelledImages, UInt8Array
from thumbnet.data.info import describe
from thumbnet.data.split import stratified_split
from thumbnet.data.stored import CHUNK_VALUES, StoredImages, chunks
from thumbnet.recipe import Augmentation, Balance
from thumbnet.training.batches import Batches

COUNT = 20_000


@pytest.fixture
def large(tmp_path: Path) -> LabelledImages:
    """61 MB of pixels."""
    pixels = np.lib.format.open_memmap(
        tmp_path / "pixels.npy", "w+", dtype=np.uint8, shape=(COUNT, 32, 32, 3)
    )
    rows = np.random.default_rng(0).permutation(COUNT)
    return LabelledImages(cast("UInt8Array", StoredImages(pixels, rows)), np.arange(COUNT) % 10)


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_memory_use_is_limited_to_a_few_batches(large: LabelledImages, balance: Balance) -> None:
    augmentation = Augmentation(flip="alternating", random_crop_padding=2, cutout=8)
    tracemalloc.start()
    try:
        indices, held_out = stratified_split(large.labels, 0.1, seed=0)
        training, validation = large.take(indices), large.take(held_out)
        dataset = Dataset("large", tuple("abcdefghij"), training, validation, "here")
        describe(dataset)
        batches = Batches(training, 100, augmentation, seed=0, balance=balance)
        assert sum(len(labels) for _, labels in batches.epoch(0)) == len(training)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.35 * large.images.nbytes


def test_stored_images_have_the_properties_of_an_array(large: LabelledImages) -> None:
    images, whole = large.images, np.asarray(large.images)
    assert isinstance(images, StoredImages)
    assert isinstance(whole, np.ndarray)
    assert (images.shape, images.ndim, images.dtype, images.size, images.nbytes, len(images)) == (
        whole.shape,
        whole.ndim,
        whole.dtype,
        whole.size,
        whole.nbytes,
        len(whole),
    )


@pytest.mark.parametrize("side", [8, 224, 3000])
def test_chunks_have_a_limited_size_for_images_of_any_size(side: int) -> None:
    images = np.lib.stride_tricks.as_strided(
        np.zeros(1, np.uint8), (100, side, side, 3), (0, 0, 0, 0)
    )
    some = list(chunks(images))
    assert sum(map(len, some)) == 100
    assert all(one.size <= CHUNK_VALUES or len(one) == 1 for one in some)
