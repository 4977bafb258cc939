import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thumbnet.data.dataset import Dataset
from thumbnet.data.images import (
    MAXIMUM_PIXELS,
    fit_image,
    open_picture,
    read_image,
    silent_pillow,
)
from thumbnet.errors import InputError

SHAPE = (32, 32, 3)


@pytest.fixture
def picture(sample: Dataset) -> Image.Image:
    return Image.fromarray(sample.test.images[0])


def test_a_picture_of_the_right_size_is_read_as_it_is(picture: Image.Image, tmp_path: Path) -> None:
    for name in ("a.png", "a.webp"):
        picture.save(tmp_path / name, lossless=True)
        np.testing.assert_array_equal(read_image(tmp_path / name, SHAPE), np.asarray(picture))


def test_jpeg_is_read_nearly_as_it_is(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "a.jpg", quality=95, subsampling=0)
    error = np.abs(read_image(tmp_path / "a.jpg", SHAPE).astype(int) - np.asarray(picture))
    assert error.mean() < 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_mode_gives_the_model_what_it_takes(
    mode: str, picture: Image.Image, tmp_path: Path
) -> None:
    grey = np.asarray(picture.convert("L"))
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        picture = picture.convert(mode)
    picture.save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", SHAPE)
    assert pixels.shape == SHAPE
    assert pixels.dtype == np.uint8
    if mode in ("L", "LA", "I;16"):
        np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))


def test_cmyk_jpeg_is_read(picture: Image.Image, tmp_path: Path) -> None:
    picture.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert read_image(tmp_path / "a.jpg", SHAPE).shape == SHAPE


def test_transparency_becomes_white(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", SHAPE) == 255).all()


def test_exif_orientation_is_followed(picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    picture.rotate(90).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", SHAPE), np.asarray(picture))


def test_a_wide_picture_is_cut_around_its_centre(picture: Image.Image, tmp_path: Path) -> None:
    wide = Image.new("RGB", (96, 32), "red")
    wide.paste(picture, (32, 0))
    wide.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", SHAPE), np.asarray(picture))


def test_a_grey_model_gets_one_channel(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png", (32, 32, 1))
    np.testing.assert_array_equal(pixels[..., 0], np.asarray(picture.convert("L")))


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_any_size_is_fitted(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int
) -> None:
    path = tmp_path_factory.mktemp("size") / "a.png"
    Image.new("RGB", (width, height), (10, 20, 30)).save(path)
    assert (read_image(path, SHAPE) == (10, 20, 30)).all()


def test_what_is_no_picture_is_named(picture: Image.Image, tmp_path: Path) -> None:
    text = tmp_path / "a.png"
    text.write_text("not a picture", encoding="utf-8")
    with pytest.raises(InputError, match=r"a.png is no PNG, JPEG or WebP image"):
        read_image(text, SHAPE)
    with pytest.raises(InputError, match=r"nosuch.png does not exist"):
        read_image(tmp_path / "nosuch.png", SHAPE)
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_image(tmp_path, SHAPE)
    picture.save(tmp_path / "a.gif")
    with pytest.raises(InputError, match=r"a.gif is no PNG, JPEG or WebP image"):
        read_image(tmp_path / "a.gif", SHAPE)


@settings(max_examples=40, deadline=None)
@given(kept=st.floats(0, 0.95), name=st.sampled_from(["a.png", "a.jpg", "a.webp"]))
def test_a_truncated_picture_is_refused(
    sample: Dataset, tmp_path_factory: pytest.TempPathFactory, kept: float, name: str
) -> None:
    path = tmp_path_factory.mktemp("cut") / name
    Image.fromarray(sample.test.images[1]).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=name):
        read_image(path, SHAPE)


def test_a_picture_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    side = int(MAXIMUM_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=rf"a.png has {side}×{side} pixels; at most 50 million"):
        read_image(tmp_path / "a.png", SHAPE)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_content_is_read_or_refused(sample: Dataset, data: st.DataObject) -> None:
    """Real pictures with some bytes changed, moved or repeated, and bytes that never were one."""
    file = io.BytesIO()
    image = Image.fromarray(sample.test.images[data.draw(st.integers(0, 9))])
    mode = data.draw(st.sampled_from(["RGB", "L", "P", "RGBA", "1"]))
    form = data.draw(st.sampled_from(["PNG", "WEBP", "JPEG"] if mode in ("RGB", "L") else ["PNG"]))
    image.convert(mode).save(file, form)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(start + 40, len(content))))
        content[start:end] = data.draw(st.one_of(st.binary(max_size=40), st.just(content[end:])))
    with silent_pillow():
        try:
            picture = open_picture(bytes(content), "picture").image
        except InputError:
            return
        assert fit_image(picture, SHAPE).shape == SHAPE


def test_what_blocks_or_never_ends_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path.name} is no regular file"):
            read_image(path, SHAPE)
