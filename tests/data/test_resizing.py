import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thumbnet.data.dataset import Dataset
from thumbnet.data.resizing import resize_linear


@pytest.mark.parametrize("size", [(20, 20), (24, 28), (5, 31), (40, 33)])
def test_pixels_match_pillow_up_to_rounding(small: Dataset, size: tuple[int, int]) -> None:
    images = small.train.images[:20]
    ours = resize_linear(np.asarray(images), size)
    for image, resized in zip(images, ours, strict=True):
        theirs = Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR)
        difference = np.abs(resized.astype(int) - np.asarray(theirs))
        assert difference.max() <= 1
        assert difference.mean() < 0.3


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 40), width=st.integers(1, 40), channels=st.integers(1, 4),
    value=st.integers(0, 255),
)  # fmt: skip
def test_a_uniform_colour_is_preserved(height: int, width: int, channels: int, value: int) -> None:
    images = np.full((3, 32, 17, channels), value, np.uint8)
    resized = resize_linear(images, (height, width))
    assert resized.shape == (3, height, width, channels)
    assert (resized == value).all()


def test_the_same_size_returns_the_same_array(small: Dataset) -> None:
    images = np.asarray(small.train.images)
    assert resize_linear(images, (32, 32)) is images
