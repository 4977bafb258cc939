"""The web page that `thumbnet export --to web` writes, opened in a real browser."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from browser import BROWSER, FLAGS, needs_browser
from thumbnet.cli import main
from thumbnet.data.dataset import Dataset
from thumbnet.data.images import fit_image
from thumbnet.errors import InputError
from thumbnet.export.prepare import prepare_for_export
from thumbnet.export.web import build_program, write_web
from thumbnet.export.web.check import predict_in_browser
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras

METADATA = {"class_names": ("a", "b", "<script>"), "title": "T</script>", "about": "A"}


@contextmanager
def open_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield browser
        browser.close()


def _model(shape: tuple[int, int, int]) -> Any:
    """Every type of layer that the page supports, with uneven sizes."""
    keras = prepare_keras()
    layers, initializer = keras.layers, keras.initializers.RandomNormal(0, 0.3, seed=3)
    options = {"kernel_initializer": initializer, "bias_initializer": initializer}
    pixels = keras.Input(shape, dtype="uint8")
    x = layers.Normalization(mean=[120.0] * shape[2], variance=[3600.0] * shape[2])(pixels)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.Conv2D(6, 3, strides=2, padding="valid", activation="silu", **options)(x)
    x = layers.DepthwiseConv2D(
        (3, 5), padding="same", activation="relu6", depthwise_initializer=initializer
    )(x)
    y = layers.Conv2D(6, (1, 3), padding="same", **options)(x)
    y = layers.MaxPooling2D(3, strides=2, padding="same")(y)
    norm = layers.BatchNormalization()
    y = norm(y)
    norm.set_weights([np.linspace(0.5, 1.5, 6) + number / 9 for number in range(4)])
    y = layers.Activation("gelu")(y)
    z = layers.AveragePooling2D(2, padding="same")(x)
    x = layers.Add()([y, z])
    x = layers.ReLU(max_value=6)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(5, activation="tanh", **options)(x)
    x = layers.Dense(3, **options)(x)
    return keras.Model(pixels, layers.Softmax()(x))


@needs_browser
@pytest.mark.parametrize("shape", [(15, 12, 3), (8, 9, 1)])
def test_every_layer_computes_the_same_as_keras(
    shape: tuple[int, int, int], tmp_path: Path
) -> None:
    model = _model(shape)
    images = np.random.default_rng(0).integers(0, 256, (7, *shape)).astype(np.uint8)
    expected = np.asarray(model(images))
    write_web(
        prepare_for_export(model, 1.0), tmp_path / "page.html", METADATA | {"image_shape": shape}
    )
    found, _ = predict_in_browser(tmp_path / "page.html", images)
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_a_layer_that_the_page_does_not_support_is_refused() -> None:
    keras = prepare_keras()
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.LayerNormalization()])
    with pytest.raises(InputError, match=r"LayerNormalization\) cannot run in a web page"):
        build_program(model)


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("size", [(32, 32), (31, 57), (90, 40), (500, 333), (20, 12)])
def test_images_are_cropped_and_resized_like_pillow(size: tuple[int, int], sample: Dataset) -> None:
    code = files("thumbnet.export.web").joinpath("pixels.js").read_text(encoding="utf-8")
    picture = Image.fromarray(np.asarray(sample.test.images[5])).resize(size)
    text = base64.b64encode(picture.tobytes()).decode()
    with open_browser() as browser:
        page = browser.new_page()
        page.add_script_tag(content=f"{code}\nwindow.fit = Pixels.fit;")
        for shape in [(32, 32, 3), (24, 40, 1)]:
            found = page.evaluate(
                "([text, width, height, shape]) => Array.from(fit(Uint8Array.from(atob(text), "
                "(letter) => letter.charCodeAt(0)), width, height, shape))",
                [text, *size, shape],
            )
            expected = fit_image(picture, shape).astype(int)
            # Pillow may resize columns before rows, and rounds in between.
            assert np.abs(np.reshape(found, shape) - expected).max() <= 2


@pytest.mark.slow
@needs_browser
def test_the_page_classifies_image_files_without_a_network(
    finished_run: Run,
    sample: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Run(shutil.copytree(finished_run.path, tmp_path / "run"))
    monkeypatch.setattr(
        "sys.argv",
        ["thumbnet", "export", str(run.path), "--to", "web", "--source", "sample", "--json"],
    )
    with pytest.raises(SystemExit, match="0"):
        main()
    record = json.loads(capsys.readouterr().out)
    assert record["images"] == 500
    assert record["agreement"] >= 0.98
    Image.fromarray(np.asarray(sample.test.images[3])).resize((200, 100)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not an image")
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 390, "height": 800})
        problems: list[str] = []
        requested: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto((run.exports_path / record["path"]).as_uri())
        page.set_input_files("#file", tmp_path / "a.png")
        expect(page.locator("#bars tr")).to_have_count(5)
        page.locator("#least").fill("100")
        expect(page.locator("#verdict")).to_contain_text("Not sure enough")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.set_input_files("#file", tmp_path / "b.png")
        expect(page.locator("#problem")).to_have_text(
            "b.png cannot be read. Use PNG, JPEG or WebP."
        )
        assert problems == []
        assert all(url.startswith(("file:", "blob:", "data:")) for url in requested)
