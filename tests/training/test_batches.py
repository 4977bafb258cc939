from collections.abc import Mapping
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.stored import Int64Array, StoredImages, UInt8Array
from thumbnet.parallel.processes import Processes
from thumbnet.recipe import Augmentation
from thumbnet.training.batches import Batches

PLAIN = Augmentation()


def test_every_image_appears_once_per_epoch_in_a_new_order(small: Dataset) -> None:
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
def test_an_epoch_can_be_resumed_at_any_step(
    small: Dataset, first_step: int, epoch: int, seed: int
) -> None:
    augmentation = Augmentation(flip="random", random_crop_padding=2, cutout=6)
    whole = list(Batches(small.train, 50, augmentation, seed).epoch(epoch))
    rest = list(Batches(small.train, 50, augmentation, seed).epoch(epoch, first_step))
    assert len(rest) == len(whole) - first_step
    for (images, labels), (same_images, same_labels) in zip(whole[first_step:], rest, strict=True):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)


def test_a_different_seed_gives_different_batches(small: Dataset) -> None:
    one, other = (next(Batches(small.train, 50, PLAIN, seed).epoch(0)) for seed in (0, 1))
    assert not np.array_equal(one[0], other[0])


def test_alternating_flip_shows_both_orientations_in_two_epochs(small: Dataset) -> None:
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
    batches = Batches(image, 1, Augmentation(random_crop_padding=2), seed=0)
    seen = {images[0].tobytes() for epoch in range(200) for images, _ in batches.epoch(epoch)}
    assert seen == crops


def test_cutout_changes_one_square_of_its_size(small: Dataset) -> None:
    pixels = np.zeros((2, 32, 32, 3), np.uint8)
    pixels[1] = 255  # the mean colour of the two, 128, differs from both
    image = LabelledImages(pixels, np.zeros(2, np.int64))
    for images, _ in Batches(image, 2, Augmentation(cutout=8), seed=1).epoch(0):
        for one in images:
            rows, columns = np.nonzero((one == 128).all(axis=-1))
            assert len(rows) == 64
            assert np.ptp(rows) == np.ptp(columns) == 7


def test_each_augmentation_has_its_own_random_stream(small: Dataset) -> None:
    crop, flip, cutout = {"random_crop_padding": 2}, {"flip": "random"}, {"cutout": 32}

    def batch(*settings: Mapping[str, object]) -> UInt8Array:
        values = {key: value for one in settings for key, value in one.items()}
        augmentation = Augmentation.model_validate(values)
        return next(Batches(small.train, 100, augmentation, seed=0).epoch(0))[0]

    def flipped(images: UInt8Array, plain: UInt8Array) -> list[bool]:
        return [not np.array_equal(*pair) for pair in zip(images, plain, strict=True)]

    assert flipped(batch(flip), batch()) == flipped(batch(crop, flip), batch(crop))
    # A square as large as the image hides crops and flips.
    np.testing.assert_array_equal(batch(crop, flip, cutout), batch(cutout))
    smaller = {"cutout": 8}
    squares = [
        (with_cutout != without).any(axis=-1)
        for with_cutout, without in (
            (batch(smaller), batch()),
            (batch(crop, smaller), batch(crop)),
        )
    ]
    # A square of the colour of the pixels under it cannot be seen.
    assert (squares[0] == squares[1]).mean() > 0.99


def test_an_incomplete_last_batch_is_dropped(small: Dataset) -> None:
    batches = Batches(small.train, 150, PLAIN, seed=0)
    assert batches.steps(0) == 2
    assert [len(labels) for _, labels in batches.epoch(0)] == [150, 150]


def test_fewer_images_than_the_batch_size_make_one_batch(small: Dataset) -> None:
    batches = Batches(small.train.take(range(7)), 64, PLAIN, seed=0)
    assert [len(labels) for _, labels in batches.epoch(0)] == [7]


@pytest.mark.parametrize("augmentation", [PLAIN, Augmentation(flip="random", cutout=4)])
def test_the_original_images_are_not_changed(small: Dataset, augmentation: Augmentation) -> None:
    before = np.array(small.train.images)
    for images, _ in Batches(small.train, 50, augmentation, seed=0).epoch(0):
        images[:] = 0
    np.testing.assert_array_equal(small.train.images, before)


@settings(max_examples=20, deadline=None)
@given(
    flip=st.sampled_from(["none", "random", "alternating"]),
    shift=st.integers(0, 3),
    cutout=st.sampled_from([0, 5]),
    scale=st.sampled_from([1.0, 0.75]),
    epoch=st.integers(0, 2),
)
def test_images_in_a_file_make_the_same_batches(
    small: Dataset, flip: str, shift: int, cutout: int, scale: float, epoch: int
) -> None:
    augmentation = Augmentation.model_validate(
        {
            "flip": flip,
            "random_crop_padding": shift,
            "cutout": cutout,
            "progressive_resizing": [scale],
        }
    )
    rows = np.random.default_rng(0).permutation(len(small.train))
    images = StoredImages(np.asarray(small.train.images), rows)
    stored = LabelledImages(images, small.train.labels[rows])
    whole = small.train.take(rows)
    for one, other in zip(
        Batches(stored, 64, augmentation, seed=1).epoch(epoch),
        Batches(whole, 64, augmentation, seed=1).epoch(epoch),
        strict=True,
    ):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.parametrize(
    ("epochs", "scales", "sizes"),
    [
        (4, (0.5, 0.75, 1.0, 1.0), [16, 24, 32, 32]),
        (6, (0.5, 1.0), [16, 16, 16, 32, 32, 32]),
        (3, (0.5, 0.6, 0.7, 0.8, 1.0), [16, 19, 26]),
        (2, (1.0,), [32, 32]),
    ],
)
def test_images_grow_over_the_epochs(
    small: Dataset, epochs: int, scales: tuple[float, ...], sizes: list[int]
) -> None:
    augmentation = Augmentation(progressive_resizing=scales, random_crop_padding=2, cutout=4)
    batches = Batches(small.train, 100, augmentation, seed=0, epochs=epochs)
    for epoch, size in enumerate(sizes):
        assert batches.image_size(epoch) == (size, size)
        images, _ = next(batches.epoch(epoch))
        assert images.shape == (100, size, size, 3)


@settings(max_examples=30, deadline=None)
@given(
    hard_example_fraction=st.floats(0.2, 1),
    epochs=st.integers(1, 5),
    batch_size=st.integers(20, 150),
)
def test_steps_and_positions_agree(
    small: Dataset, hard_example_fraction: float, epochs: int, batch_size: int
) -> None:
    batches = Batches(
        small.train,
        batch_size,
        PLAIN,
        0,
        epochs=epochs,
        hard_example_fraction=hard_example_fraction,
    )
    expected = [(epoch, step) for epoch in range(epochs) for step in range(batches.steps(epoch))]
    assert [batches.position(step) for step in range(batches.total_steps)] == expected
    assert batches.position(batches.total_steps) == (epochs, 0)


def test_later_epochs_revisit_the_hardest_images(small: Dataset) -> None:
    batches = Batches(small.train, 50, PLAIN, seed=0, epochs=3, hard_example_fraction=0.5)
    losses = np.random.default_rng(0).random(400).astype(np.float32)
    first, second, third = (batches.order(epoch, losses) for epoch in range(3))
    assert sorted(first) == list(range(400))
    hardest = set(np.argsort(losses)[200:].tolist())
    assert set(second.tolist()) == set(third.tolist()) == hardest
    assert second.tolist() != third.tolist()
    assert [
        len(list(batches.epoch(epoch, order=order)))
        for epoch, order in enumerate((first, second, third))
    ] == [8, 4, 4]
    images, labels = next(batches.epoch(1, order=second))
    np.testing.assert_array_equal(labels, small.train.labels[second[:50]])
    np.testing.assert_array_equal(images, np.asarray(small.train.images)[second[:50]])


@pytest.fixture
def unbalanced(small: Dataset) -> LabelledImages:
    """Three classes of about 36, 12 and 4 images."""
    members = [np.flatnonzero(small.train.labels == label) for label in (0, 3, 5)]
    chosen = np.concatenate([members[0][:36], members[1][:12], members[2][:4]])
    return LabelledImages(
        small.train.images.take(chosen, axis=0), np.repeat([0, 1, 2], [36, 12, 4])
    )


def test_sampling_shows_every_class_equally_often(unbalanced: LabelledImages) -> None:
    batches = Batches(unbalanced, 13, PLAIN, seed=2, balance="sampling")
    assert batches.steps(0) == 4
    for epoch in (0, 1):
        drawn = list(batches.epoch(epoch))
        labels = np.concatenate([labels for _, labels in drawn])
        counts = np.bincount(labels)
        assert counts.sum() == 52
        assert set(counts) <= {16, 17, 18}
        images = [image.tobytes() for some, _ in drawn for image in some]
        # Small classes are repeated evenly, the large one is sampled without replacement, and the
        # remainder of 52 divided by three is dropped.
        assert counts[0] + 12 + 4 - 2 <= len(set(images)) <= counts[0] + 12 + 4
        rest = list(batches.epoch(epoch, first_step=2))
        np.testing.assert_array_equal(rest[1][0], drawn[3][0])
    first, second = (next(batches.epoch(epoch))[1] for epoch in (0, 1))
    assert not np.array_equal(first, second)


def test_class_weights_give_each_class_the_same_total_weight(unbalanced: LabelledImages) -> None:
    batches = Batches(unbalanced, 13, PLAIN, seed=2, balance="class_weights")
    weights = batches.weights(unbalanced.labels)
    assert weights is not None
    assert weights.dtype == np.float32
    sums = np.bincount(unbalanced.labels, weights)
    np.testing.assert_allclose(sums, 52 / 3, rtol=1e-6)
    assert Batches(unbalanced, 13, PLAIN, seed=2).weights(unbalanced.labels) is None


@pytest.mark.parametrize("flip", ["random", "alternating"])
@pytest.mark.parametrize("count", [2, 5])
def test_the_rows_of_several_processes_are_the_batch_of_one(
    small: Dataset, flip: str, count: int
) -> None:
    augmentation = Augmentation.model_validate(
        {"flip": flip, "random_crop_padding": 2, "cutout": 6}
    )
    losses = np.random.default_rng(0).random(len(small.train), np.float32)
    alone = Batches(small.train, 50, augmentation, 3, hard_example_fraction=0.5, epochs=2)
    order = alone.order(1, losses)
    shards = [
        Batches(
            small.train, 50, augmentation, 3, hard_example_fraction=0.5, epochs=2,
            processes=Processes(rank, count, count),
        ).epoch(1, 1, order)
        for rank in range(count)
    ]  # fmt: skip
    for (images, labels), *parts in zip(alone.epoch(1, 1, order), *shards, strict=True):
        assert {len(part) for part, _ in parts} == {50 // count}
        np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), labels)


@settings(max_examples=50, deadline=None)
@given(start=st.integers(0, 40), size=st.integers(1, 60), count=st.integers(2, 7))
def test_splitting_a_batch_among_processes_does_not_change_a_mean(
    start: int, size: int, count: int
) -> None:
    own = [Processes(rank, count, count).shard(start, start + size) for rank in range(count)]
    parts = cast("list[Int64Array]", own)
    assert len({len(part) for part in parts}) == 1
    counts = np.bincount(np.concatenate(parts), minlength=start + size)
    assert not counts[:start].any()
    assert len(set(counts[start:])) == 1
