import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from thumbnet.data.dataset import Dataset
from thumbnet.data.formats import readable_formats
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


def test_an_image_of_the_right_size_is_unchanged(picture: Image.Image, tmp_path: Path) -> None:
    for name in ("a.png", "a.webp"):
        picture.save(tmp_path / name, lossless=True)
        np.testing.assert_array_equal(read_image(tmp_path / name, SHAPE), np.asarray(picture))


def test_jpeg_is_nearly_unchanged(picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "a.jpg", quality=95, subsampling=0)
    error = np.abs(read_image(tmp_path / "a.jpg", SHAPE).astype(int) - np.asarray(picture))
    assert error.mean() < 5


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_every_mode_is_converted_for_the_model(
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


@pytest.mark.parametrize("name", ["a.ppm", "a.bmp", "a.tiff", "a.gif", "a.avif"])
def test_other_formats_are_read(name: str, picture: Image.Image, tmp_path: Path) -> None:
    palette = picture.quantize(64)
    saved = palette.convert("P" if name == "a.gif" else "RGB")
    saved.save(tmp_path / name, quality=100, subsampling="4:4:4")
    error = np.abs(read_image(tmp_path / name, SHAPE).astype(int) - palette.convert("RGB"))
    assert error.max() <= (5 if name == "a.avif" else 0)


@pytest.mark.parametrize("name", ["a.gif", "a.tiff", "a.webp"])
def test_the_first_frame_or_page_is_read(name: str, sample: Dataset, tmp_path: Path) -> None:
    frames = [Image.fromarray(image).quantize(64) for image in sample.test.images[:3]]
    first, *rest = [frame.convert("P" if name == "a.gif" else "RGB") for frame in frames]
    first.save(tmp_path / name, save_all=True, append_images=rest, lossless=True)
    np.testing.assert_array_equal(read_image(tmp_path / name, SHAPE), first.convert("RGB"))
    with silent_pillow():
        assert open_picture(tmp_path / name).animated


def test_16_bit_values_are_scaled_in_every_format(tmp_path: Path) -> None:
    values = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    Image.fromarray(values).save(tmp_path / "a.tiff")
    (tmp_path / "a.pgm").write_bytes(b"P5 32 32 65535 " + values.astype(">u2").tobytes())
    for name in ("a.tiff", "a.pgm"):
        pixels = read_image(tmp_path / name, (32, 32, 1))[..., 0]
        np.testing.assert_array_equal(pixels, np.round(values / 257))


@pytest.mark.parametrize("values", [[0.0, 0.5], [0, 70_000], [-1, 5]])
def test_values_of_unknown_range_are_refused(values: list[float], tmp_path: Path) -> None:
    dtype = np.float32 if isinstance(values[0], float) else np.int32
    Image.fromarray(np.array([values], dtype)).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match=r"a.tiff contains values of unknown range"):
        read_image(tmp_path / "a.tiff", SHAPE)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.svg", b'<?xml version="1.0"?>\n<svg xmlns=""/>', "a.svg is in SVG format, which is no"),
        ("a.png", b"8BPS\0\1 and so on", "a.png is in Photoshop format, which is not supported; c"),
        ("a.tga", b"\0\0\2\0\0\0", "a.tga is in TGA format, which is not supported; convert"),
        ("a.heic", b"\0\0\0\x18ftypheic", "is in HEIC format, which requires .*pillow-heif"),
        ("a.nef", b"II*\0 and so on", r"a.nef is a camera raw file \(.nef\), which is not support"),
    ],
)
def test_unsupported_formats_are_named(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / name, SHAPE)


def test_a_pillow_plugin_reads_heic(
    picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for pillow-heif, whose files contain a PNG after the HEIC header."""
    start = b"\0\0\0\x18ftypheic"

    def open_heic(file: IO[bytes], _: object) -> Image.Image:
        return Image.open(io.BytesIO(file.read()[len(start) :]))

    def register_heif_opener() -> None:
        Image.register_open("HEIF", open_heic, lambda prefix: prefix.startswith(start))  # type: ignore[arg-type]

    plugin = SimpleNamespace(register_heif_opener=register_heif_opener)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    readable_formats.cache_clear()
    try:
        content = io.BytesIO()
        picture.save(content, "PNG")
        (tmp_path / "a.heic").write_bytes(start + content.getvalue())
        np.testing.assert_array_equal(read_image(tmp_path / "a.heic", SHAPE), np.asarray(picture))
    finally:
        readable_formats.cache_clear()


def photo(path: Path, sample: Dataset, side: int, **options: object) -> Image.Image:
    """Write a JPEG with the aspect ratio of a phone camera, and return the image."""
    image = Image.fromarray(sample.test.images[0]).resize((side * 4 // 3, side))
    image.save(path, quality=90, **options)  # type: ignore[arg-type]
    return image


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(
    orientation: int, sample: Dataset, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo(tmp_path / "a.jpg", sample, 1500, exif=exif)
    with silent_pillow():
        whole = open_picture(tmp_path / "a.jpg")
        small = open_picture(tmp_path / "a.jpg", needed=(32, 32))
    assert small.size == whole.size == whole.image.size
    assert whole.size == ((2000, 1500) if orientation == 1 else (1500, 2000))
    assert small.image.size == tuple(-(-side // 8) for side in whole.size)
    difference = fit_image(small.image, SHAPE).astype(int) - fit_image(whole.image, SHAPE)
    assert np.abs(difference).mean() < 2
    with silent_pillow():  # too large to decode at a reduced size
        assert open_picture(tmp_path / "a.jpg", needed=(300, 300)).image.size == whole.size


def test_a_photo_with_a_thumbnail_is_a_jpeg(sample: Dataset, tmp_path: Path) -> None:
    image = photo(tmp_path / "a.jpg", sample, 900)
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image.resize((40, 30))])
    with silent_pillow():
        picture = open_picture(tmp_path / "a.jpg", needed=(32, 32))
    assert (picture.format, picture.animated, picture.image.size) == ("JPEG", False, (150, 113))


def test_a_large_jpeg_counts_with_its_decoding_cost(sample: Dataset, tmp_path: Path) -> None:
    photo(tmp_path / "phone.jpg", sample, 1200)
    photo(tmp_path / "progressive.jpg", sample, 1200, progressive=True)
    photo(tmp_path / "whole.png", sample, 1200)
    limit = 300_000  # of the 1.92 million pixels, an eighth is below and a half above
    assert read_image(tmp_path / "phone.jpg", SHAPE, limit).shape == SHAPE
    for name in ("progressive.jpg", "whole.png"):
        with pytest.raises(InputError, match=r"has 1600×1200 pixels, above the limit of 0.3 mill"):
            read_image(tmp_path / name, SHAPE, limit)
    assert read_image(tmp_path / "progressive.jpg", SHAPE, 1_000_000).shape == SHAPE
    with pytest.raises(InputError, match="above the limit"):
        read_image(tmp_path / "phone.jpg", (300, 300, 3), limit)


def test_cmyk_jpeg_is_read(picture: Image.Image, tmp_path: Path) -> None:
    picture.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert read_image(tmp_path / "a.jpg", SHAPE).shape == SHAPE


def test_transparency_becomes_white(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png", SHAPE) == 255).all()


def test_exif_orientation_is_applied(picture: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated
    picture.rotate(90).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", SHAPE), np.asarray(picture))


def test_a_wide_image_is_centre_cropped(picture: Image.Image, tmp_path: Path) -> None:
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
def test_images_of_any_size_are_resized(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int
) -> None:
    path = tmp_path_factory.mktemp("size") / "a.png"
    Image.new("RGB", (width, height), (10, 20, 30)).save(path)
    assert (read_image(path, SHAPE) == (10, 20, 30)).all()


def test_files_that_are_not_images_are_named(picture: Image.Image, tmp_path: Path) -> None:
    text = tmp_path / "a.png"
    text.write_text("not an image", encoding="utf-8")
    with pytest.raises(InputError, match=r"a.png is not an image in any known format"):
        read_image(text, SHAPE)
    with pytest.raises(InputError, match=r"nosuch.png does not exist"):
        read_image(tmp_path / "nosuch.png", SHAPE)
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_image(tmp_path, SHAPE)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    with pytest.raises(InputError, match=r"b.png begins like a PNG file but is damaged"):
        read_image(tmp_path / "b.png", SHAPE)


@settings(max_examples=40, deadline=None)
@given(kept=st.floats(0, 0.95), name=st.sampled_from(["a.png", "a.jpg", "a.webp"]))
def test_a_truncated_image_is_refused(
    sample: Dataset, tmp_path_factory: pytest.TempPathFactory, kept: float, name: str
) -> None:
    path = tmp_path_factory.mktemp("cut") / name
    Image.fromarray(sample.test.images[1]).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=name):
        read_image(path, SHAPE)


def test_an_image_above_the_limit_is_refused_before_decoding(tmp_path: Path) -> None:
    side = int(MAXIMUM_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(tmp_path / "a.png")
    message = rf"a.png has {side}×{side} pixels, above the limit of 50 million; .*--max-megapixels"
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a.png", SHAPE)
    assert read_image(tmp_path / "a.png", SHAPE, maximum_pixels=60_000_000).shape == SHAPE
    with pytest.raises(InputError, match=r"a.png has far too many pixels, above the limit of 1 m"):
        read_image(tmp_path / "a.png", SHAPE, maximum_pixels=1_000_000)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_content_is_read_or_refused(sample: Dataset, data: st.DataObject) -> None:
    """Real images with bytes changed, moved or repeated, and arbitrary bytes."""
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


def test_pipes_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path.name} is not a regular file"):
            read_image(path, SHAPE)
