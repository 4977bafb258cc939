import numpy as np

from thumbnet.data.dataset import Dataset
from thumbnet.figures.heat import (
    DIMMED,
    SIDE,
    STOPS,
    heat_colors,
    heat_overlay,
    scale_colors,
)
from thumbnet.interpretation.attribution import smoothed_support


def test_heat_colours_a_grey_image_of_at_least_128_pixels(sample: Dataset) -> None:
    images = sample.test.images[:2]
    for heat, image in zip((0.0, 1.0), images, strict=True):
        (shown,) = heat_overlay(image[None], np.full((1, 32, 32), heat))
        assert shown.shape == (SIDE, SIDE, 3)
        if heat == 0:
            grey = image.mean(axis=-1).repeat(4, axis=0).repeat(4, axis=1) * DIMMED
            assert np.abs(shown - grey[..., None]).max() <= 0.5
        else:
            red, _, blue = (float(channel.mean()) for channel in np.moveaxis(shown, -1, 0))
            assert red - blue > 50  # light yellow, whatever is below


def test_more_heat_is_brighter_and_more_opaque() -> None:
    color, alpha = heat_colors(np.linspace(0, 1, 50))
    brightness = color @ [0.299, 0.587, 0.114]
    assert (np.diff(brightness) > 0).all()
    assert alpha[0, 0] == 0
    assert (np.diff(alpha[:, 0]) >= 0).all()
    np.testing.assert_allclose(color[-1], STOPS[-1])
    assert len(set(scale_colors(9))) == 9


def test_integrated_gradients_are_smoothed_without_negative_values() -> None:
    attributions = np.zeros((2, 32, 32))
    attributions[0, 10, 10], attributions[0, 25, 25], attributions[1] = 1, -1, -1
    heat = smoothed_support(attributions)
    assert heat[0].argmax() == 10 * 32 + 10
    assert heat[0].max() == 1
    assert 0.5 < heat[0, 10, 12] < 1  # its neighbours count too
    assert heat[0, 25, 25] == 0
    assert not heat[1].any()


def test_grey_images_and_large_ones_are_shown_as_well() -> None:
    grey = np.full((1, 28, 28, 1), 200, np.uint8)
    assert heat_overlay(grey, np.zeros((1, 28, 28))).shape == (1, 140, 140, 3)
    large = np.full((1, 160, 130, 3), 200, np.uint8)
    assert heat_overlay(large, np.zeros((1, 160, 130))).shape == (1, 160, 130, 3)
