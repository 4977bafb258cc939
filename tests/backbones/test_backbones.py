from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
from http_server import send, serving

from thumbnet.backbones import BACKBONES, BackboneName, efficientnet_lite, is_at_hand
from thumbnet.data.dataset import Dataset
from thumbnet.data.resizing import resize_linear
from thumbnet.errors import InputError, JobError
from thumbnet.models import build_model, finished_model
from thumbnet.models.architectures.backbone import Parameters
from thumbnet.models.flops import count_flop
from thumbnet.runs.model_file import require_safe_model
from thumbnet.training.start import Features, logistic_regression


def _model(name: BackboneName, shape: tuple[int, ...], classes: int = 3) -> keras.Model:
    parameters = Parameters(architecture="backbone", name=name, dropout=0.1)
    return build_model(parameters, np.zeros((2, *shape), np.uint8), classes, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_consists_of_layers_that_a_model_file_may_contain(
    name: BackboneName, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 40, 1), np.uint8)
    finished = finished_model(_model(name, (32, 40, 1)), (32, 40, 1))
    finished.save(tmp_path / "model.keras")

    require_safe_model(tmp_path / "model.keras")

    reopened = keras.saving.load_model(tmp_path / "model.keras")
    answers = np.asarray(reopened.predict_on_batch(images))
    assert np.allclose(answers.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(answers, finished.predict_on_batch(images), atol=1e-6)


def test_depthwise_convolutions_count() -> None:
    pixels = keras.Input((8, 8, 6))
    model = keras.Model(pixels, keras.layers.DepthwiseConv2D(3, padding="same")(pixels))

    assert count_flop(model) == 2 * 3 * 3 * 6 * 8 * 8


def test_the_flop_of_efficientnet_lite_are_as_published() -> None:
    model = finished_model(_model("efficientnet_lite0", (224, 224, 3), 1000), (224, 224, 3))

    assert model.count_params() == pytest.approx(4.65e6, rel=0.01)
    assert count_flop(model) / 2 == pytest.approx(0.39e9, rel=0.03)  # multiply-adds


def test_images_that_do_not_fit_a_backbone_are_refused() -> None:
    with pytest.raises(InputError, match="needs images of 32×32 pixels or more"):
        _model("efficientnet_lite0", (24, 32, 3))
    with pytest.raises(InputError, match="with 1 or 3 channels, not 32×32×4"):
        _model("efficientnet_lite0", (32, 32, 4))


def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", missing)
    monkeypatch.setattr(metadata, "version", missing)

    assert not is_at_hand("efficientnet_lite0")
    with pytest.raises(InputError, match=r"efficientnet_lite0 are not installed.*\[backbone\]"):
        efficientnet_lite.read_weights()


def test_weights_with_an_unexpected_digest_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.pth").write_bytes(b"other weights")
    file = SimpleNamespace(suffix=".pth", name="other.pth", locate=lambda: tmp_path / "other.pth")
    monkeypatch.setattr(metadata, "files", lambda _: [file])

    with pytest.raises(InputError, match="does not have the expected digest"):
        efficientnet_lite.read_weights()


@pytest.mark.slow
@pytest.mark.skipif(
    not is_at_hand("efficientnet_lite0"), reason="needs the extra thumbnet[backbone]"
)
def test_the_imagenet_weights_classify_the_sample(sample: Dataset) -> None:
    part = sample.train.take(range(240))
    images = resize_linear(np.asarray(part.images), (96, 96))
    model = _model("efficientnet_lite0", (96, 96, 3), 10)
    efficientnet_lite.load_weights(model)

    features = Features(model).of(images)
    kernel, bias = logistic_regression(features[:160], part.labels[:160], 10, 0.01)

    right = (features[160:] @ kernel + bias).argmax(axis=1) == part.labels[160:]
    assert right.mean() > 0.6  # a network with random weights gets about 0.2


@pytest.mark.slow
def test_keras_weights_are_downloaded_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from keras.src.applications import mobilenet_v2
    from keras.src.backend import config
    from keras.src.legacy.saving import legacy_h5_format

    monkeypatch.setattr(config, "keras_home", lambda: str(tmp_path / "home"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    stand_in = keras.applications.MobileNetV2((None, None, 3), include_top=False, weights=None)
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, stand_in)
    model = _model("mobilenet_v2", (32, 32, 3))
    assert not is_at_hand("mobilenet_v2")

    with serving(send((tmp_path / "weights.h5").read_bytes())) as server:
        monkeypatch.setattr(mobilenet_v2, "BASE_WEIGHT_PATH", server.url.rpartition("/")[0] + "/")
        from thumbnet.backbones import load_imagenet_weights

        load_imagenet_weights("mobilenet_v2", model)
        assert is_at_hand("mobilenet_v2")
        load_imagenet_weights("mobilenet_v2", model)

    assert len(server.ranges) == 1
    ours, theirs = (one.get_layer("Conv1").get_weights()[0] for one in (model, stand_in))
    assert np.array_equal(ours, theirs)


def test_a_failed_download_of_weights_gets_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from keras.src.applications import mobilenet_v2
    from keras.src.backend import config

    monkeypatch.setattr(config, "keras_home", lambda: str(tmp_path))
    with serving(send(b"gone", status=404)) as server:
        monkeypatch.setattr(mobilenet_v2, "BASE_WEIGHT_PATH", server.url.rpartition("/")[0] + "/")
        from thumbnet.backbones import load_imagenet_weights

        with pytest.raises(JobError, match="weights of mobilenet_v2 cannot be downloaded"):
            load_imagenet_weights("mobilenet_v2", _model("mobilenet_v2", (32, 32, 3)))


@pytest.mark.slow
def test_training_the_top_of_a_backbone_leaves_the_rest_as_it_is() -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    parameters = Parameters(architecture="backbone", trainable="top")
    model = build_model(parameters, images, class_count=3, seed=0)
    trained = {variable.path.split("/")[0] for variable in model.trainable_variables}

    assert {"logits", "head", "block_16_project"} <= trained
    assert not trained & {"stem", "block_1_depthwise", "block_11_project"}
    frozen = model.get_layer("block_5_project").get_weights()
    model.compile(optimizer="adam", loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    before = model.get_layer("block_16_project").get_weights()
    model.train_on_batch(images + 100, np.eye(3, dtype=np.float32)[[0, 1, 2, 0]])

    after = model.get_layer("block_16_project").get_weights()
    assert not np.array_equal(before[0], after[0])
    assert np.array_equal(frozen[0], model.get_layer("block_5_project").get_weights()[0])
