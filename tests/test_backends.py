import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.engines import open_engine
from thumbnet.errors import InputError
from thumbnet.installing import install_command
from thumbnet.models import build_model, parameters_class
from thumbnet.recipe import Recipe
from thumbnet.runtime import backend, computes_in, prepare_keras
from thumbnet.training import train
from thumbnet.training.progress import SilentDisplay

SCRIPT = Path(__file__).with_name("without_tensorflow.py")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_everything_works_on_jax_without_tensorflow(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.startswith("interrupted after 5 steps; continue with")
    assert last == "jax"


def test_a_missing_backend_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thumbnet.runtime.find_spec", lambda name: None)
    with pytest.raises(InputError, match=re.escape(install_command(backend()))):
        prepare_keras.__wrapped__()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("backend", "torch", "the Keras backend is torch, which Thumbnet does not support: set"),
        ("image_data_format", "channels_first", "image_data_format = 'channels_first', but"),
        ("floatx", "float16", "floatx = 'float16', but Thumbnet needs 'float32'"),
    ],
)
def test_an_unsupported_keras_configuration_is_refused(
    name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_keras().config, name, lambda: value)
    with pytest.raises(InputError, match=message):
        prepare_keras.__wrapped__()


CNN_AFTER_KERAS = """
{first}
{second}
import numpy as np
from thumbnet.machine import describe_host
from thumbnet.models import build_model, parameters_class
from thumbnet.runtime import backend

parameters = parameters_class("cnn").model_validate({{"architecture": "cnn", "widths": [4, 8]}})
images = np.zeros((4, 32, 32, 3), np.uint8)
model = build_model(parameters, images, 10, seed=0)
assert model.predict_on_batch(images).shape == (4, 10)
import keras
assert backend() == keras.config.backend() == describe_host().backend, backend()
print(backend())
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
@pytest.mark.parametrize("order", [("keras", "thumbnet"), ("thumbnet", "keras")])
def test_the_backend_in_keras_json_is_used_whatever_is_imported_first(
    order: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "keras.json").write_text('{"backend": "jax"}', encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    code = CNN_AFTER_KERAS.format(first=f"import {order[0]}", second=f"import {order[1]}")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment | {"KERAS_HOME": str(tmp_path)},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "jax\n"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("architecture", ["ann", "cnn"])
def test_mixed_precision_learns_and_leaves_a_model_in_float32(
    precision: str, architecture: str, small: Dataset, tmp_path: Path
) -> None:
    recipe = Recipe.check(
        {
            "name": "mixed",
            "epochs": 4,
            "batch_size": 50,
            "validation": 0.0,
            "precision": precision,
            "model": {"architecture": architecture, "widths": [8, 16]},
            "optimizer": {"name": "muon", "learning_rate": 0.1, "momentum": 0.6},
        },
        "test",
    )
    run = train(recipe, small, tmp_path / "run", display=SilentDisplay())
    losses = [row.loss for row in run.history()]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] - 0.1
    engine = open_engine(run)
    model = engine.model  # type: ignore[attr-defined]
    assert {layer.compute_dtype for layer in model.layers[1:]} == {"float32"}
    np.testing.assert_allclose(
        engine.predict(np.asarray(small.test.images)).argmax(axis=1),
        run.predictions().probabilities.argmax(axis=1),
    )


def test_logits_and_statistics_stay_in_float32(small: Dataset) -> None:
    parameters = parameters_class("cnn").model_validate({"architecture": "cnn", "widths": [4, 8]})
    model = build_model(parameters, small.train.images, 10, 0, "mixed_bfloat16")
    types = {layer.name: layer.compute_dtype for layer in model.layers}
    assert types["block_1_1_convolution"] == "bfloat16"
    assert types["block_1_1_norm"] == types["logits"] == "float32"
    assert all(weight.dtype == "float32" for weight in model.weights)
    assert prepare_keras().config.dtype_policy().name == "float32"


def test_float32_is_always_supported() -> None:
    assert computes_in("float32")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["avx2", "avx512f", "amx_bf16", "amx_tile"], "mixed_bfloat16"),
        (["avx2", "avx512_bf16"], "float32"),
    ],
)
def test_auto_chooses_the_fastest_precision_of_the_processor_and_records_it(
    flags: list[str], expected: str, small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thumbnet.runtime._flags", lambda: flags)
    recipe = Recipe.check(
        {
            "name": "settled",
            "epochs": 1,
            "precision": "auto",
            "model": {"architecture": "ann", "widths": [8]},
        },
        "test",
    )
    run = train(recipe, small, tmp_path / "run", display=SilentDisplay())
    assert run.recipe().precision == expected


def test_normalisation_outputs_16_bits_and_keeps_float32_statistics(small: Dataset) -> None:
    keras = prepare_keras()
    from thumbnet.models.normalization import FusedBatchNormalization

    layer = FusedBatchNormalization(momentum=0.5, scale=False, dtype="float32")
    pixels = np.asarray(small.train.images[:64], np.float32)
    for training in (True, False):
        given = keras.ops.cast(pixels, "bfloat16")
        assert keras.backend.standardize_dtype(layer(given, training=training).dtype) == "bfloat16"
    expected = (np.mean(pixels, axis=(0, 1, 2)), np.var(pixels, axis=(0, 1, 2)))
    found = (layer.moving_mean, layer.moving_variance)
    before = (0.0, 1.0)
    for start, value, mean in zip(before, found, expected, strict=True):
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        np.testing.assert_allclose(np.asarray(value), 0.5 * start + 0.5 * mean, rtol=1e-2)
