import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbnet.batches import Batches
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.recipe import Augmentation

PLAIN = Augmentation()


def test_every_image_comes_once_an_epoch_in_a_new_order(small: Dataset) -> None:
    batches = Batches(small.train, 50, PLAIN, seed=3)
    first, second = (
        np.concatenate([images for images, _ in batches.epoch(epoch)]) for epoch in (0, 1)
    )
    assert not np.array_equal(first, second)
    expected = sorted(image.tobytes() for image in small.train.images)
    for images in (first, second):
        assert sorted(image.tobytes() for image in images) == expected


def test_labels_stay_with_their_images(small: Dataset) -> None:
    labels_of = {
        image.tobytes(): label
        for image, label in zip(small.train.images, small.train.labels, strict=True)
    }
    for images, labels in Batches(small.train, 32, PLAIN, seed=0).epoch(0):
        assert [labels_of[image.tobytes()] for image in images] == labels.tolist()


@settings(max_examples=20, deadline=None)
@given(first_step=st.integers(0, 7), epoch=st.integers(0, 3), seed=st.integers(0, 5))
def test_an_epoch_can_be_entered_at_any_step(
    small: Dataset, first_step: int, epoch: int, seed: int
) -> None:
    augmentation = Augmentation(flip="random", shift=2, cutout=6)
    whole = list(Batches(small.train, 50, augmentation, seed).epoch(epoch))
    rest = list(Batches(small.train, 50, augmentation, seed).epoch(epoch, first_step))
    assert len(rest) == len(whole) - first_step
    for (images, labels), (same_images, same_labels) in zip(whole[first_step:], rest, strict=True):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)


def test_another_seed_gives_other_batches(small: Dataset) -> None:
    one, other = (next(Batches(small.train, 50, PLAIN, seed).epoch(0)) for seed in (0, 1))
    assert not np.array_equal(one[0], other[0])


def test_alternating_flip_shows_both_views_in_two_epochs(small: Dataset) -> None:
    batches = Batches(small.train, 400, Augmentation(flip="alternating"), seed=0)
    views = [
        {image.tobytes() for images, _ in batches.epoch(epoch) for image in images}
        for epoch in (0, 1, 2)
    ]
    mirrored = {image[:, ::-1].tobytes() for image in small.train.images}
    originals = {image.tobytes() for image in small.train.images}
    assert views[0] | views[1] == mirrored | originals
    assert views[0] == views[2] != views[1]


def test_shift_crops_the_reflected_frame(small: Dataset) -> None:
    image = small.train.take([0])
    padded = np.pad(image.images[0], ((2, 2), (2, 2), (0, 0)), mode="reflect")
    crops = {
        padded[top : top + 32, left : left + 32].tobytes() for top in range(5) for left in range(5)
    }
    batches = Batches(image, 1, Augmentation(shift=2), seed=0)
    seen = {images[0].tobytes() for epoch in range(200) for images, _ in batches.epoch(epoch)}
    assert seen == crops


def test_cutout_changes_one_square_of_its_size(small: Dataset) -> None:
    image = LabelledImages(np.zeros((2, 32, 32, 3), np.uint8), np.zeros(2, np.int64))
    image.images[1] = 255  # the mean colour of the two, 128, differs from both
    for images, _ in Batches(image, 2, Augmentation(cutout=8), seed=1).epoch(0):
        for one in images:
            rows, columns = np.nonzero((one == 128).all(axis=-1))
            assert len(rows) == 64
            assert np.ptp(rows) == np.ptp(columns) == 7


def test_what_does_not_fill_a_batch_sits_out(small: Dataset) -> None:
    batches = Batches(small.train, 150, PLAIN, seed=0)
    assert batches.steps_per_epoch == 2
    assert [len(labels) for _, labels in batches.epoch(0)] == [150, 150]


def test_fewer_images_than_the_batch_size_make_one_batch(small: Dataset) -> None:
    batches = Batches(small.train.take(range(7)), 64, PLAIN, seed=0)
    assert [len(labels) for _, labels in batches.epoch(0)] == [7]


@pytest.mark.parametrize("augmentation", [PLAIN, Augmentation(flip="random", cutout=4)])
def test_the_images_themselves_are_not_changed(small: Dataset, augmentation: Augmentation) -> None:
    before = small.train.images.copy()
    for images, _ in Batches(small.train, 50, augmentation, seed=0).epoch(0):
        images[:] = 0
    np.testing.assert_array_equal(small.train.images, before)
