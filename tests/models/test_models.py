import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from thumbnet.data.dataset import Dataset, Images
from thumbnet.data.stored import StoredImages
from thumbnet.errors import InputError
from thumbnet.models import architecture_names, build_model, finished_model, parameters_class
from thumbnet.models.inputs import whitening_filters
from thumbnet.recipe import Recipe
from thumbnet.runs.model_file import require_safe_model
from thumbnet.runtime import prepare_keras


def build(architecture: str, images: Images, classes: int = 10, seed: int = 0, **keys: object):  # type: ignore[no-untyped-def]
    values = {"architecture": architecture, "widths": [8, 16], **keys}
    parameters = parameters_class(architecture).model_validate(values)
    return build_model(parameters, images, classes, seed)


# `backbone` is tested in `tests/backbones`.
SMALL = ("ann", "cnn")


def test_all_architectures_are_found() -> None:
    assert {"ann", "backbone", "cnn"} <= set(architecture_names())


@pytest.mark.parametrize("architecture", SMALL)
@pytest.mark.parametrize(("side", "channels", "classes"), [(32, 3, 10), (28, 1, 2), (48, 3, 100)])
def test_models_map_raw_pixels_to_logits(
    architecture: str, side: int, channels: int, classes: int
) -> None:
    images = np.random.default_rng(0).integers(256, size=(20, side, side, channels), dtype=np.uint8)
    logits = np.asarray(build(architecture, images, classes)(images))
    assert logits.shape == (20, classes)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert np.ptp(logits, axis=0).min() > 0  # every logit depends on the image


@pytest.mark.parametrize("architecture", SMALL)
def test_the_seed_decides_the_weights(architecture: str, small: Dataset) -> None:
    images = small.train.images
    one, same, other = (
        np.asarray(build(architecture, images, seed=seed)(images[:4])) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("architecture", SMALL)
def test_a_saved_model_gives_the_same_outputs(
    architecture: str, small: Dataset, tmp_path: Path
) -> None:
    keras = prepare_keras()
    model = build(architecture, small.train.images, dropout=0.3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_array_equal(model(small.test.images[:8]), loaded(small.test.images[:8]))


@pytest.mark.parametrize("architecture", SMALL)
def test_every_trainable_variable_gets_a_gradient(architecture: str, small: Dataset) -> None:
    keras = prepare_keras()
    model = build(architecture, small.train.images)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [np.asarray(variable).copy() for variable in model.trainable_variables]
    model.train_on_batch(small.train.images[:64], small.train.labels[:64])
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, variable), variable.path


def test_preprocessing_inside_the_model_standardises_each_channel(small: Dataset) -> None:
    keras = prepare_keras()
    model = build("ann", small.train.images)
    standardised = keras.Model(model.input, model.get_layer("standardise").output)
    pixels = np.asarray(standardised(small.train.images))
    np.testing.assert_allclose(pixels.mean(axis=(0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(pixels.std(axis=(0, 1, 2)), 1, atol=1e-3)


def test_images_of_one_colour_give_finite_outputs() -> None:
    images = np.full((4, 32, 32, 3), 7, np.uint8)
    for architecture in SMALL:
        assert np.isfinite(np.asarray(build(architecture, images)(images))).all()


def test_the_components_of_an_ann_are_uncorrelated(sample: Dataset) -> None:
    keras = prepare_keras()
    model = build("ann", sample.train.images, shrink=2, pca_components=32)
    whitened = keras.Model(model.input, model.get_layer("whiten").output)
    values = np.asarray(whitened(sample.train.images))
    products = values.T @ values / len(values)
    variances = np.diag(products)
    np.testing.assert_allclose(products, np.diag(variances), atol=1e-3)
    # Similar variances, except for the floor that keeps weak components from being amplified.
    assert (np.diff(variances) < 1e-3).all()
    assert 0.5 < variances[-1] < variances[0] < 1.01
    assert not model.get_layer("whiten").trainable_variables


def test_a_small_image_has_fewer_components(small: Dataset) -> None:
    model = build("ann", small.train.images, shrink=8, pca_components=256)
    assert model.get_layer("whiten").output.shape[-1] == 48


@pytest.mark.slow
def test_randomised_svd_finds_the_same_components(sample: Dataset) -> None:
    images = sample.train.images[:600].reshape(600, -1).astype(np.float32) / np.float32(64) - 2
    exact = whitening_filters(images[:, :1024], 8, 0.3)
    found = whitening_filters(np.pad(images[:, :1024], ((0, 0), (0, 500))), 8, 0.3)
    signs = np.sign((found[:1024] * exact).sum(axis=0))
    np.testing.assert_allclose(found[:1024] * signs, exact, atol=0.02 * np.abs(exact).max())
    assert np.abs(found[1024:]).max() < 1e-5


def test_images_smaller_than_the_shrink_factor_are_refused() -> None:
    images = np.zeros((4, 3, 9, 3), np.uint8)
    with pytest.raises(InputError, match=r"images of 3×9 pixels cannot be shrunk by a factor of 4"):
        build("ann", images, shrink=4)


@pytest.mark.parametrize("name", ["ann", "cnn"])
@pytest.mark.parametrize(
    ("side", "channels", "classes"), [(16, 3, 2), (28, 1, 10), (64, 3, 100), (96, 3, 2), (9, 1, 2)]
)
def test_the_shipped_recipes_accept_images_of_other_shapes(
    name: str, side: int, channels: int, classes: int
) -> None:
    parameters = Recipe.read(name).model
    images = np.random.default_rng(0).integers(256, size=(30, side, side, channels), dtype=np.uint8)
    logits = np.asarray(build_model(parameters, images, classes, seed=0)(images))
    assert logits.shape == (30, classes)
    assert np.isfinite(logits).all()


def test_images_from_a_file_give_the_same_model(small: Dataset) -> None:
    stored = StoredImages(np.asarray(small.train.images), np.arange(len(small.train)))
    for architecture in SMALL:
        of_array, of_file = (
            np.asarray(build(architecture, images)(small.test.images[:8]))
            for images in (small.train.images, stored)
        )
        np.testing.assert_array_equal(of_array, of_file)


@pytest.mark.slow
def test_the_filters_of_a_cnn_whiten_patches(sample: Dataset) -> None:
    keras = prepare_keras()
    model = build("cnn", sample.train.images)
    whitened = keras.Model(model.input, model.get_layer("whiten").output)
    values = np.asarray(whitened(sample.train.images)).reshape(-1, 24)
    np.testing.assert_allclose(values[:, :12], -values[:, 12:], atol=1e-4)
    products = values[:, :12].T @ values[:, :12] / len(values)
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-2)
    assert np.diag(products).max() == pytest.approx(1, abs=0.01)


def test_blocks_are_initialised_to_the_identity(small: Dataset) -> None:
    kernel = np.asarray(build("cnn", small.train.images).get_layer("block_2_2_convolution").kernel)
    expected = np.zeros((3, 3, 16, 16))
    expected[1, 1] = np.eye(16)
    np.testing.assert_array_equal(kernel, expected)


def test_images_too_small_for_the_blocks_are_refused() -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(InputError, match=r"images of 8×8 pixels are too small for 3 blocks"):
        build("cnn", images, widths=[8, 8, 8])


def test_fused_batch_normalisation_trains_like_keras_batch_normalisation() -> None:
    keras = prepare_keras()
    from thumbnet.models.normalization import FusedBatchNormalization

    random = np.random.default_rng(0)
    pixels = random.normal(2, 3, size=(16, 5, 5, 4)).astype(np.float32)
    targets = random.normal(size=(16, 5, 5, 4)).astype(np.float32)
    results: list[Any] = []
    for kind in (FusedBatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.6, scale=False, name="norm")
        model = keras.Sequential([keras.Input((5, 5, 4)), keras.layers.Conv2D(4, 1), layer])
        keras.utils.set_random_seed(1)
        model.layers[0].set_weights([random_kernel(4), np.zeros(4, np.float32)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
        losses = [float(model.train_on_batch(pixels, targets)) for _ in range(3)]
        results.append((layer, losses, [np.asarray(weight) for weight in model.get_weights()]))
    (_, losses, weights), (_, their_losses, their_weights) = results
    np.testing.assert_allclose(losses, their_losses, rtol=1e-5)
    for ours, theirs in zip(weights, their_weights, strict=True):
        # The fused operation divides the running variance by n - 1, Keras by n.
        np.testing.assert_allclose(ours, theirs, rtol=4e-3, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"axis": 1}, {"center": False}, {"scale": True}], ids=str)
def test_fused_normalisation_gives_the_same_outputs_as_keras(options: dict[str, Any]) -> None:
    keras = prepare_keras()
    from thumbnet.models.normalization import FusedBatchNormalization

    pixels = np.random.default_rng(0).normal(2, 3, size=(4, 5, 5, 4)).astype(np.float32)
    ours, theirs = (
        kind(**{"scale": False} | options)
        for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)
    )
    for training in (True, False):
        found, expected = (np.asarray(layer(pixels, training=training)) for layer in (ours, theirs))
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)


def test_a_frozen_fused_normalisation_keeps_its_statistics() -> None:
    from thumbnet.models.normalization import FusedBatchNormalization

    pixels = np.random.default_rng(0).normal(2, 3, size=(4, 5, 5, 4)).astype(np.float32)
    layer = FusedBatchNormalization(scale=False)
    layer(pixels, training=True)
    layer.trainable = False
    before = [np.asarray(weight) for weight in layer.weights]
    outputs = np.asarray(layer(pixels, training=True))
    np.testing.assert_array_equal(outputs, np.asarray(layer(pixels, training=False)))
    for weight, kept in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(np.asarray(weight), kept)


def random_kernel(channels: int) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(2)
    return random.normal(size=(1, 1, channels, channels)).astype(np.float32)


@pytest.mark.parametrize("architecture", SMALL)
def test_the_saved_model_contains_only_keras_layers(
    architecture: str, small: Dataset, tmp_path: Path
) -> None:
    keras = prepare_keras()
    model = build(architecture, small.train.images, dropout=0.3)
    for weights in model.weights:
        weights.assign(weights + 0.01)
    finished = finished_model(model, small.train.images.shape[1:])
    images = np.asarray(small.test.images[:8])
    expected = np.asarray(keras.ops.softmax(model(images)))
    np.testing.assert_allclose(np.asarray(finished(images)), expected, rtol=1e-5)
    assert finished.input_shape == (None, 32, 32, 3)
    finished.save(tmp_path / "model.keras")
    require_safe_model(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert b"thumbnet" not in archive.read("config.json")


def test_a_residual_block_adds_the_output_of_its_first_convolution(small: Dataset) -> None:
    plain, residual = (
        build("cnn", small.train.images, convs_per_block=3, residual=flag) for flag in (False, True)
    )
    residual.set_weights(plain.get_weights())
    images = np.asarray(small.test.images[:4])
    assert residual.count_params() == plain.count_params()
    assert not np.allclose(np.asarray(residual(images)), np.asarray(plain(images)))


def test_a_cnn_accepts_images_of_a_different_size(small: Dataset) -> None:
    from thumbnet.data.resizing import resize_linear

    model = build("cnn", small.train.images)
    images = resize_linear(np.asarray(small.test.images[:4]), (20, 24))
    assert np.asarray(model(images)).shape == (4, 10)
