import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.robustness.corruptions import BENCHMARK, EXTRA, SEVERITIES, corrupt

ALL = (*BENCHMARK, *EXTRA)


@pytest.mark.parametrize("name", ALL)
def test_corruptions_are_reproducible_and_keep_shape_and_dtype(name: str, sample: Dataset) -> None:
    images = sample.test.images[:6]
    for severity in SEVERITIES:
        once = corrupt(images, name, severity, seed=3)
        assert once.shape == images.shape
        assert once.dtype == np.uint8
        assert (once != images).any()
        # The corruption of an image does not depend on the other images.
        assert (corrupt(images[:2], name, severity, seed=3) == once[:2]).all()


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("elastic_transform", "saturate")])
def test_higher_severities_change_images_more(name: str, sample: Dataset) -> None:
    images = sample.test.images[:30]
    change = [
        np.abs(corrupt(images, name, severity).astype(float) - images).mean() for severity in (1, 5)
    ]
    assert change[1] > change[0]


def test_noise_has_the_published_std() -> None:
    grey = np.full((40, 32, 32, 3), 128, np.uint8)
    for severity, scale in zip(SEVERITIES, (0.04, 0.06, 0.08, 0.09, 0.10), strict=True):
        noisy = corrupt(grey, "gaussian_noise", severity).astype(float) / 255
        assert noisy.std() == pytest.approx(scale, rel=0.02)
    shot = corrupt(grey, "shot_noise", 5).astype(float) / 255
    assert shot.std() == pytest.approx(np.sqrt(128 / 255 / 50), rel=0.02)
    struck = corrupt(grey, "impulse_noise", 5)
    assert (struck != 128).mean() == pytest.approx(0.07, abs=0.005)
    assert set(np.unique(struck)) == {0, 128, 255}


def test_colour_changes_match_calculations_by_hand() -> None:
    pixels = np.full((1, 32, 32, 3), (51, 102, 204), np.uint8)
    # HSV value 0.8 + 0.05; hue and saturation do not change.
    brighter = corrupt(pixels, "brightness", 1)[0, 0, 0]
    assert np.abs(brighter - np.array([54, 108, 216])).max() <= 1
    # Saturation 0.75 × 0.1 of value 204.
    pale = corrupt(pixels, "saturate", 2)[0, 0, 0]
    assert np.abs(pale - np.array([188, 193, 204])).max() <= 1
    split = np.concatenate([pixels[:, :16] * 0, pixels[:, :16] * 0 + 200], axis=1).astype(np.uint8)
    low, high = np.unique(corrupt(split, "contrast", 2))
    assert (low, high) == (50, 150)


@pytest.mark.parametrize("name", ["defocus_blur", "gaussian_blur", "motion_blur", "zoom_blur"])
def test_blur_does_not_change_a_uniform_image(name: str) -> None:
    plain = np.full((1, 32, 32, 3), 100, np.uint8)
    for severity in SEVERITIES:
        changed = corrupt(plain, name, severity).astype(int)
        assert np.abs(changed - 100).max() <= 1


def test_grey_images_can_be_corrupted(sample: Dataset) -> None:
    grey = sample.test.images[:2].mean(axis=-1, keepdims=True).astype(np.uint8)
    for name in ALL:
        assert corrupt(grey, name, 3).shape == grey.shape
