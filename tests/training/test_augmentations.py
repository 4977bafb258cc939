"""The augmentations of recipes, on real images."""

from pathlib import Path

import numpy as np
import pytest

from thumbnet import registry
from thumbnet.augmentations import augmentation
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.parallel.processes import SINGLE_PROCESS, Processes
from thumbnet.recipe import Augmentation, Recipe
from thumbnet.training import train
from thumbnet.training.batches import Batches
from thumbnet.training.prepare import augments
from thumbnet.training.progress import SilentDisplay

ALL = registry.names("augmentation")
SIZE = 40


def settings(recipe: Recipe, **values: float) -> Augmentation:
    changed = {f"augmentation.{name}": value for name, value in values.items()}
    return recipe.override(changed).augmentation


def batches(
    images: LabelledImages, augmentation: Augmentation, processes: Processes = SINGLE_PROCESS
) -> Batches:
    return Batches(
        images, SIZE, augmentation, 3, epochs=2, processes=processes,
        augments=augments(augmentation), class_count=10,
    )  # fmt: skip


@pytest.fixture
def plain(tiny_recipe: Recipe) -> Recipe:
    """A recipe that neither flips nor crops."""
    return tiny_recipe.override({"augmentation": {}})


def first(images: LabelledImages, augmentation: Augmentation) -> tuple[UInt8Array, Float32Array]:
    pixels, labels = next(batches(images, augmentation).epoch(0))
    return pixels, np.asarray(labels, np.float32)


def test_the_names_of_all_augmentations() -> None:
    named = {"aug_mix", "color_jitter", "cutmix", "mixup", "rand_augment", "random_erasing"}
    assert named <= set(ALL)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ALL)
def test_an_augmentation_changes_images_but_not_their_shape_and_dtype(
    plain: Recipe, small: Dataset, name: str, channels: int
) -> None:
    images = LabelledImages(np.asarray(small.train.images)[..., :channels], small.train.labels)
    before, labels = first(images, settings(plain, **{name: 0.0}))
    after, mixed = first(images, settings(plain, **{name: 0.8}))
    assert after.dtype == np.uint8
    assert after.shape == before.shape
    assert (after != before).any(axis=(1, 2, 3)).mean() > 0.5
    assert mixed.shape == (SIZE, 10)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    unmixed = np.eye(10, dtype=np.float32)[labels.astype(int)]
    assert (mixed == unmixed).all() == (not augmentation(name).MIXES_IMAGES)


@pytest.mark.parametrize("name", ALL)
def test_a_batch_does_not_depend_on_earlier_batches(
    plain: Recipe, small: Dataset, name: str
) -> None:
    chosen = settings(plain, **{name: 0.8})
    whole = list(batches(small.train, chosen).epoch(1))
    rest = list(batches(small.train, chosen).epoch(1, first_step=7))
    assert len(rest) == len(whole) - 7 > 0
    for (images, labels), (same_images, same_labels) in zip(whole[7:], rest, strict=True):
        np.testing.assert_array_equal(images, same_images)
        np.testing.assert_array_equal(labels, same_labels)
    assert not np.array_equal(whole[0][0], whole[1][0])


def test_processes_see_their_rows_of_the_mixed_batch(plain: Recipe, small: Dataset) -> None:
    chosen = settings(plain, mixup=0.8, rand_augment=0.5)
    alone = next(batches(small.train, chosen).epoch(0))
    shares = [
        next(batches(small.train, chosen, Processes(rank, 2, 2)).epoch(0)) for rank in range(2)
    ]
    for whole, parts in zip(alone, zip(*shares, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_mixup_blends_an_image_and_its_label_with_one_of_the_batch(
    plain: Recipe, small: Dataset
) -> None:
    before = next(batches(small.train, settings(plain, mixup=0.0)).epoch(0))
    after, labels = first(small.train, settings(plain, mixup=1.0))
    pixels, classes = before[0].astype(float), np.asarray(before[1], int)
    weights = labels[np.arange(SIZE), classes]
    mixed = np.flatnonzero(weights < 1)  # those with an image of another class
    assert len(mixed) > SIZE // 2
    for index in mixed:
        weight = weights[index]
        blends = weight * pixels[index] + (1 - weight) * pixels
        errors = np.abs(after[index] - blends).max(axis=(1, 2, 3))
        partner = errors.argmin()
        assert errors[partner] <= 0.51  # from rounding to whole pixel values
        assert labels[index, classes[partner]] == pytest.approx(1 - weight, abs=1e-6)


def test_cutmix_covers_the_fraction_of_an_image_that_its_label_gives(plain: Recipe) -> None:
    # Two images of one colour each, of two classes.
    images = np.repeat(np.array([0, 200], np.uint8), SIZE // 2)[:, None, None, None]
    pixels = np.broadcast_to(images, (SIZE, 32, 32, 3)).copy()
    two = LabelledImages(pixels, np.repeat(np.arange(2), SIZE // 2))
    after, labels = first(two, settings(plain, cutmix=1.0))
    shown = (after[..., 0] == 200).mean(axis=(1, 2))
    # A rectangle covers whole pixels.
    np.testing.assert_allclose(shown, labels[:, 1], atol=0.07)
    assert ((labels > 0.05) & (labels < 0.95)).any()


def test_color_jitter_moves_no_pixels(plain: Recipe, small: Dataset) -> None:
    before, _ = first(small.train, settings(plain, color_jitter=0.0))
    after, _ = first(small.train, settings(plain, color_jitter=0.4))
    for old, new in zip(before, after, strict=True):
        correlation = np.corrcoef(old.mean(axis=-1).ravel(), new.mean(axis=-1).ravel())[0, 1]
        assert correlation > 0.8


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("mixup", 2, "augmentation.mixup: input should be less than or equal to 1"),
        ("mix_up", 0.2, "augmentation.mix_up: unknown key; did you mean mixup?"),
        ("rand_augment", "strong", "augmentation.rand_augment: input should be a valid number"),
    ],
)
def test_an_invalid_setting_is_refused(
    plain: Recipe, key: str, value: object, sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        plain.override({f"augmentation.{key}": value})
    assert sentence in str(refused.value)


def test_hard_example_mining_with_mixed_images_is_refused(plain: Recipe) -> None:
    with pytest.raises(InputError, match=r"augmentation\.cutmix mixes images"):
        plain.override({"augmentation.cutmix": 0.5, "hard_example_fraction": 0.5})


def test_a_recipe_keeps_its_augmentations(plain: Recipe) -> None:
    recipe = plain.override({"augmentation.mixup": 0.2, "augmentation.aug_mix": 0.3})
    assert Recipe.parse(recipe.to_toml(), "test") == recipe
    assert list(recipe.augmentation.by_name()) == ["aug_mix", "mixup"]
    # Unused augmentations do not appear in recipes and runs.
    assert "cutmix" not in recipe.to_toml()


@pytest.mark.slow
def test_a_run_is_trained_with_mixed_labels_and_class_weights(
    tiny_recipe: Recipe, small: Dataset, tmp_path: Path
) -> None:
    recipe = tiny_recipe.override(
        {"augmentation.mixup": 0.4, "augmentation.rand_augment": 0.2, "balance": "class_weights"}
    )
    run = train(recipe, small, tmp_path / "run", display=SilentDisplay())
    assert run.recipe() == recipe
    assert run.history()[-1].loss < run.history()[0].loss
