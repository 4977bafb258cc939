import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbnet.data.dataset import Dataset
from thumbnet.models import build_model, parameters_class
from thumbnet.models.winograd import FEWEST_CHANNELS, LONGEST_SIDE, WinogradConv2D, winograd
from thumbnet.runtime import prepare_keras

Float32Array = npt.NDArray[np.float32]


def normal(*shape: int) -> Float32Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(1, 3),
    height=st.integers(1, LONGEST_SIDE),
    width=st.integers(1, 18),
    channels=st.integers(1, 5),
    filters=st.integers(1, 5),
)
def test_winograd_equals_direct_convolution_at_any_size(
    count: int, height: int, width: int, channels: int, filters: int
) -> None:
    keras = prepare_keras()
    images, kernel = normal(count, height, width, channels), normal(3, 3, channels, filters)
    expected = np.asarray(keras.ops.conv(images, kernel, padding="same"))
    errors = np.asarray(winograd(images, kernel)) - expected
    # Standard deviation of a sum of as many products of standard normal numbers.
    std = np.sqrt(9 * channels)
    assert np.sqrt(np.mean(errors**2)) < 1e-4 * std
    assert np.abs(errors).max() < 2e-3 * std


def test_a_layer_trains_like_keras_conv2d_without_a_direct_convolution() -> None:
    keras = prepare_keras()
    pixels, targets = normal(8, 7, 6, FEWEST_CHANNELS), normal(8, 7, 6, FEWEST_CHANNELS)
    kernel = normal(3, 3, FEWEST_CHANNELS, FEWEST_CHANNELS) / 24
    results = []
    for kind in (WinogradConv2D, keras.layers.Conv2D):
        layer = kind(FEWEST_CHANNELS, 3, padding="same", use_bias=False, name="convolution")
        model = keras.Sequential([keras.Input((None, None, FEWEST_CHANNELS)), layer])
        model.set_weights([kernel])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        losses = [float(model.train_on_batch(pixels, targets)) for _ in range(3)]
        results.append((losses, model.get_weights()[0], operations(model, pixels)))
    (losses, trained, ours), (their_losses, their_trained, theirs) = results
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(losses, their_losses, rtol=1e-5)
    np.testing.assert_allclose(trained, their_trained, atol=1e-5)
    assert "Conv2D" in theirs
    assert "Conv2D" not in ours


@pytest.mark.parametrize(
    "options",
    [
        {"use_bias": True, "bias_initializer": "ones"},
        {"activation": "relu"},
        {"strides": 2},
        {"dilation_rate": 2},
        {"groups": 2},
        {"padding": "valid"},
        {"kernel_size": 5},
    ],
    ids=str,
)
def test_a_layer_with_other_options_gives_the_same_outputs_in_training_and_inference(
    options: dict[str, object],
) -> None:
    options = {"kernel_size": 3, "padding": "same", "use_bias": False} | options
    layer = WinogradConv2D(FEWEST_CHANNELS, **options)
    images = normal(2, 9, 8, 2 * FEWEST_CHANNELS)
    afterwards = np.asarray(layer(images))
    np.testing.assert_allclose(np.asarray(layer(images, training=True)), afterwards, atol=1e-3)


def operations(model: object, pixels: Float32Array) -> set[str]:
    """Types of the TensorFlow operations in a forward pass in training."""
    import tensorflow as tf

    traced = tf.function(lambda images: model(images, training=True)).get_concrete_function(  # type: ignore[operator]
        tf.TensorSpec(pixels.shape)
    )
    return {operation.type for operation in traced.graph.get_operations()}


@pytest.mark.parametrize(
    ("widths", "precision", "plain"),
    [([8, 32, 32], "float32", 3), ([8, 32, 32], "mixed_bfloat16", 6), ([8, 8, 8], "float32", 6)],
)
def test_only_wide_float32_blocks_of_a_cnn_use_winograd(
    widths: list[int], precision: str, plain: int, small: Dataset
) -> None:
    import tensorflow as tf

    parameters = parameters_class("cnn").model_validate({"architecture": "cnn", "widths": widths})
    model = build_model(parameters, small.train.images, 10, seed=0, precision=precision)
    traced = tf.function(lambda images: model(images, training=True)).get_concrete_function(
        tf.TensorSpec((4, 32, 32, 3), tf.uint8)
    )
    direct = [o for o in traced.graph.get_operations() if o.type == "Conv2D"]
    assert len(direct) == 1 + plain  # the whitening layer is always direct


def test_large_images_are_convolved_directly() -> None:
    images = np.zeros((4, 80, 80, 3), np.uint8)
    parameters = parameters_class("cnn").model_validate({"architecture": "cnn", "widths": [64, 64]})
    model = build_model(parameters, images, 10, seed=0)
    assert not any(isinstance(layer, WinogradConv2D) for layer in model.layers)
