"""Exports predict the same in every runtime, and are checked when written and when opened."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import thumbnet.engines
from thumbnet.atomic import write_json
from thumbnet.data.dataset import Dataset
from thumbnet.engines import (
    export_path,
    file_digest,
    open_engine,
    open_keras_engine,
    open_model,
    probing,
)
from thumbnet.engines.files import digests_of
from thumbnet.engines.formats import format_names
from thumbnet.engines.prediction import predict
from thumbnet.errors import InputError, JobError
from thumbnet.evaluation.intervals import Interval
from thumbnet.export import comparison, export_run
from thumbnet.export.comparison import Comparison
from thumbnet.export.prepare import prepare_for_export
from thumbnet.installing import install_command
from thumbnet.models import build_model, finished_model, parameters_class
from thumbnet.recipe import Recipe
from thumbnet.record import write_record
from thumbnet.runs.records import Exports
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras
from thumbnet.serving.model import bundled_run
from thumbnet.training.progress import SilentDisplay

pytestmark = pytest.mark.slow  # one run is exported to every format first

FORMATS = format_names()
MODEL_FILES = {
    "onnx": "model.onnx",
    "openvino": "openvino/model.bin",
    "litert": "model.tflite",
    "savedmodel": "savedmodel/saved_model.pb",
    "onnx-int8": "model-int8.onnx",
    "openvino-int8": "openvino-int8/model.bin",
    "litert-int8": "model-int8.tflite",
}


def ignore(message: str) -> None:
    pass


@pytest.fixture(scope="module")
def exported(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small convolutional network with everything that is hard to export, in every format."""
    from thumbnet.training import train

    values = {
        "name": "small",
        "epochs": 1,
        "batch_size": 50,
        "validation": 0.5,
        "model": {
            "architecture": "cnn",
            "widths": [16, 32],
            "activation": "gelu",
            "dropout": 0.1,
        },
    }
    recipe = Recipe.check(values, "test")
    run = train(recipe, small, tmp_path_factory.mktemp("runs") / "small", display=SilentDisplay())
    for to in FORMATS:
        export_run(run, to, small, ignore)
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Random differences change some of 200 predictions of a barely trained network.
        monkeypatch.setattr(comparison, "MAXIMUM_LOSS", 0.1)
        # The few weights are smaller than the description of the network around them.
        monkeypatch.setattr(comparison, "LEAST_SHRINKAGE", 0.1)
        for to in ("onnx", "openvino", "litert"):
            export_run(run, to, small, ignore, quantize=True)
    return run


@pytest.fixture
def copy(exported: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(exported.path, tmp_path / "copy")))


def change_record(run: Run, name: str, **changes: Any) -> None:
    records = Exports(run.exports()).model_dump()
    records[name] |= changes
    write_json(run.exports_record_path, records)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("count", [0, 1, 7, 200])
def test_every_engine_predicts_the_same_as_keras(
    exported: Run, small: Dataset, name: str, count: int
) -> None:
    images = small.test.images[:count]
    engine, keras = open_engine(exported, name), open_keras_engine(exported)
    assert (engine.name, engine.image_shape) == (name, (32, 32, 3))
    assert engine.class_names == small.class_names
    assert engine.path.exists()
    answers = engine.predict(images)
    assert answers.dtype == np.float32
    np.testing.assert_allclose(answers, keras.predict(images), atol=1e-5)


def test_exported_predictions_are_calibrated(exported: Run, small: Dataset) -> None:
    assert exported.temperature() != 1
    plain = open_keras_engine(exported).model.predict_on_batch(small.test.images[:5])
    logits = np.log(plain) / exported.temperature()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    answers = open_engine(exported, "onnx").predict(small.test.images[:5])
    np.testing.assert_allclose(answers, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["onnx-int8", "openvino-int8", "litert-int8"])
def test_int8_is_smaller_and_nearly_as_accurate(exported: Run, small: Dataset, name: str) -> None:
    record, float_record = exported.exports()[name], exported.exports()[name[:-5]]
    assert record.quantized == "int8"
    assert record.bytes < float_record.bytes
    assert record.tolerance == {"accuracy_loss": 0.1, "shrinkage": 0.1}
    assert record.accuracy_loss_interval is not None
    assert record.keras_accuracy is not None
    assert record.accuracy is not None
    low, high = record.accuracy_loss_interval
    assert low <= record.keras_accuracy - record.accuracy <= high
    assert low < high
    answers = open_engine(exported, name).predict(small.test.images)
    expected = open_keras_engine(exported).predict(small.test.images)
    assert np.abs(answers - expected).mean() < 0.05
    assert not np.array_equal(answers, expected)


def test_the_record_describes_the_comparison(exported: Run) -> None:
    records = exported.exports()
    assert set(records) == set(MODEL_FILES)
    for name, record in records.items():
        assert record.images == 200
        assert record.images_from == "validation images"
        assert record.source_sha256 == file_digest(exported.model_path)
        assert record.keras_images_per_second
        assert record.keras_latency_ms
        file = MODEL_FILES[name]
        assert record.files[file] == file_digest(exported.exports_path / file)
        if not name.endswith("-int8"):
            assert record.max_difference <= record.tolerance["max_difference"] == 1e-4
    assert not list(exported.exports_path.glob(".writing-*"))


def test_exported_files_contain_metadata(exported: Run, small: Dataset) -> None:
    import onnx
    import openvino
    from tensorflow.lite.tools import flatbuffer_utils

    directory = exported.exports_path
    (entry,) = onnx.load(directory / "model.onnx").metadata_props
    model = openvino.Core().read_model(directory / "openvino" / "model.xml")
    lite = flatbuffer_utils.read_model(str(directory / "model.tflite"))
    ours = next(each for each in lite.metadata if each.name == b"thumbnet")
    found = [
        entry.value,
        model.get_rt_info(["thumbnet"]).value,
        bytes(lite.buffers[ours.buffer].data).decode(),
        (directory / "savedmodel" / "assets.extra" / "thumbnet.json").read_text(encoding="utf-8"),
    ]
    for text in found:
        metadata = json.loads(text)
        assert metadata["class_names"] == list(small.class_names)
        assert metadata["temperature"] == exported.temperature()
        assert metadata["source_sha256"] == file_digest(exported.model_path)


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_changed_file_is_refused(copy: Run, name: str) -> None:
    with open(copy.exports_path / MODEL_FILES[name], "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="was modified after the export: its SHA-256 differs"):
        open_engine(copy, name)


def test_an_additional_file_is_refused(copy: Run) -> None:
    (copy.exports_path / "openvino" / "more.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="was modified after the export"):
        open_engine(copy, "openvino")


def test_a_link_instead_of_a_file_is_refused(copy: Run) -> None:
    file = copy.exports_path / "model.onnx"
    file.rename(copy.path / "elsewhere.onnx")
    file.symlink_to(copy.path / "elsewhere.onnx")
    with pytest.raises(InputError, match="not a regular file"):
        open_engine(copy, "onnx")


def test_an_export_of_another_model_is_refused(copy: Run) -> None:
    copy.write_metrics(copy.metrics().model_copy(update={"model_sha256": "0" * 64}))
    with pytest.raises(InputError, match="was exported from a different model"):
        open_engine(copy)


def test_a_damaged_record_is_refused(copy: Run) -> None:
    change_record(copy, "onnx", agreement="all")
    with pytest.raises(InputError, match=r"exports.json is damaged: onnx.agreement"):
        open_engine(copy)


@pytest.mark.parametrize(
    ("name", "package"),
    [("onnx", "onnxruntime"), ("litert", "ai_edge_litert"), ("openvino", "openvino")],
)
def test_an_invalid_model_with_a_valid_digest_is_refused(
    copy: Run, name: str, package: str
) -> None:
    file = copy.exports_path / MODEL_FILES[name]
    file.write_bytes(b"no model at all")
    change_record(copy, name, files=digests_of(export_path(copy.exports_path, name)))
    with pytest.raises(InputError, match=f"cannot be opened by {package}") as refused:
        open_engine(copy, name)
    assert "\n" not in str(refused.value)


def _write_file(graph: Any) -> None:
    _called(graph).node_def.add(op="WriteFile", name="harm")


def _save_in_a_listed_function(graph: Any) -> None:
    _called(graph).node_def.add(op="SaveV2", name="harm")


def _save_in_an_unlisted_function(graph: Any) -> None:
    function = graph.graph_def.library.function.add()
    function.signature.name = "__inference__traced_save_7"
    function.node_def.add(op="SaveV2", name="harm")
    node = graph.object_graph_def.nodes.add()
    node.bare_concrete_function.concrete_function_name = function.signature.name


def _save_in_a_function_that_is_called(graph: Any) -> None:
    function = graph.graph_def.library.function.add()
    function.signature.name = "__inference__traced_save_7"
    function.node_def.add(op="SaveV2", name="harm")
    call = _called(graph).node_def.add(op="PartitionedCall", name="call")
    call.attr["f"].func.name = function.signature.name


def _run_an_initialiser(graph: Any) -> None:
    graph.ClearField("object_graph_def")
    graph.graph_def.node.add(op="SaveV2", name="harm")
    graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "harm:0"


def _called(graph: Any) -> Any:
    (called, *_) = graph.object_graph_def.concrete_functions
    return next(f for f in graph.graph_def.library.function if f.signature.name == called)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_write_file, "contains WriteFile"),
        (_save_in_a_listed_function, "writes files"),
        (_save_in_an_unlisted_function, "writes files"),
        (_save_in_a_function_that_is_called, "writes files"),
        (_run_an_initialiser, "not a SavedModel of TensorFlow 2"),
    ],
)
def test_a_saved_model_that_accesses_files_is_not_loaded(
    copy: Run, change: Callable[[Any], None], message: str
) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    folder = copy.exports_path / "savedmodel"
    program = SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    change(program.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(program.SerializeToString())
    with pytest.raises(InputError, match=message):
        open_model("savedmodel", folder, copy.class_names())


def test_a_model_that_crashes_its_runtime_does_not_crash_this_process(tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(bundled_run().path, tmp_path / "run")))
    file = run.exports_path / "model.tflite"
    content = bytearray(file.read_bytes())
    content[1_541_876:1_541_884] = b"\xff" * 8  # LiteRT 2.3 accepts this and crashes
    file.write_bytes(content)
    change_record(run, "litert", files={file.name: file_digest(file)})
    code = (
        "import sys\nfrom thumbnet.engines import open_engine\n"
        "from thumbnet.runs.run import Run\nopen_engine(Run.open(sys.argv[1]), 'litert')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "InputError" in done.stderr
    assert re.search("failed in a test process|cannot be opened", done.stderr)


@pytest.mark.parametrize("name", FORMATS)
def test_every_valid_export_passes_the_test_in_a_child_process(
    copy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(probing, "_PASSED", set())
    monkeypatch.setenv("THUMBNET_CACHE", str(tmp_path / "cache"))
    assert open_engine(copy, name).name == name
    assert len(list((tmp_path / "cache" / "sound-models").iterdir())) == 1


def test_a_model_is_tested_only_once(
    copy: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def call(function: Callable[..., None], *arguments: Any, **limits: Any) -> None:
        tried.append(arguments[0])
        assert limits["memory_bytes"]
        assert limits["seconds"]

    monkeypatch.setattr(probing, "call_isolated", call)
    monkeypatch.setattr(probing, "_PASSED", set())
    monkeypatch.setenv("THUMBNET_CACHE", str(tmp_path / "cache"))
    for _ in range(2):
        open_engine(copy, "litert")
    monkeypatch.setattr(probing, "_PASSED", set())  # like in another process
    open_engine(copy, "litert")
    assert tried == ["litert"]
    open_engine(copy, "litert-int8")
    assert tried == ["litert", "litert-int8"]
    # The result cannot be stored.
    monkeypatch.setattr(probing, "_PASSED", set())
    monkeypatch.setenv("THUMBNET_CACHE", "/dev/null/cache")
    open_engine(copy, "litert")
    assert tried == ["litert", "litert-int8", "litert"]


def test_onnx_weights_outside_the_file_are_refused(copy: Run) -> None:
    import onnx

    file = copy.exports_path / "model.onnx"
    model = onnx.load(str(file))
    onnx.save_model(
        model, str(file), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    with pytest.raises(InputError, match="cannot be opened by onnxruntime"):
        open_model("onnx", file, copy.class_names())


def test_an_export_beyond_tolerance_fails_and_leaves_no_files(
    finished_run: Run, sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    monkeypatch.setattr(comparison, "MAXIMUM_DIFFERENCE", 0.0)
    with pytest.raises(JobError, match=r"on 1,250 images, it exceeds the tolerance: .*"):
        export_run(run, "litert", sample, ignore)
    assert not run.exports_path.exists()
    assert run.exports() == {}


def test_a_failed_export_keeps_the_earlier_one(
    copy: Run, small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.exports()
    monkeypatch.setattr(comparison, "MAXIMUM_DIFFERENCE", 0.0)
    with pytest.raises(JobError, match="exceeds the tolerance"):
        export_run(copy, "litert", small, ignore)
    assert copy.exports() == before
    open_engine(copy, "litert")


def test_an_export_can_be_repeated(copy: Run, small: Dataset) -> None:
    export_run(copy, "litert", small, ignore)
    assert open_engine(copy, "litert").predict(small.test.images[:1]).shape == (1, 10)
    assert not list(copy.exports_path.glob(".writing-*"))


def test_nan_is_beyond_tolerance() -> None:
    nan = float("nan")
    found = Comparison(10, "images", nan, 1.0, None, None, None, 1.0, quantized=False)
    assert found.failures() == ["probabilities differ from Keras by up to nan, more than 0.0001"]


@pytest.mark.parametrize(
    ("accuracy", "shrinkage", "failures"),
    [
        (0.895, 3.0, []),
        (0.894, 3.1, ["accuracy drops from 90.00% to 89.40%, by more than 0.5 points"]),
        (0.91, 2.9, ["it is only 2.9 times smaller than the float32 weights, less than 3 times"]),
    ],
)
def test_int8_may_lose_half_a_point_and_must_be_three_times_smaller(
    accuracy: float, shrinkage: float, failures: list[str]
) -> None:
    found = Comparison(
        1000, "images", 0.4, 0.9, accuracy, 0.9, Interval(-0.01, 0.01), shrinkage, quantized=True
    )
    assert found.failures() == failures


@pytest.mark.parametrize(("wrong", "tolerated"), [(1, True), (2, False)])
def test_int8_may_lose_one_of_few_images(wrong: int, tolerated: bool) -> None:
    accuracy = 0.8 - wrong / 45
    interval = Interval(-0.05, 0.05)
    found = Comparison(45, "images", 0.4, 0.9, accuracy, 0.8, interval, 3.5, quantized=True)
    assert (found.failures() == []) == tolerated


def test_int8_that_is_not_small_enough_is_not_exported(copy: Run, small: Dataset) -> None:
    before = copy.exports()
    with pytest.raises(JobError, match="times smaller than the float32 weights, less than 3"):
        export_run(copy, "litert", small, ignore, quantize=True)
    assert copy.exports() == before


def test_a_run_without_its_data_is_compared_on_the_sample(copy: Run) -> None:
    record = export_run(copy, "litert", None, ignore)
    assert record.images_from == "images of the bundled sample"
    assert record.accuracy is None
    with pytest.raises(InputError, match=r"int8 needs the training images of .* for calibration"):
        export_run(copy, "onnx", None, ignore, quantize=True)


def test_unsupported_exports_are_refused(copy: Run, small: Dataset) -> None:
    with pytest.raises(InputError, match="cannot export to 'coreml'; choose from"):
        export_run(copy, "coreml", small, ignore)
    with pytest.raises(InputError, match="savedmodel cannot be quantised"):
        export_run(copy, "savedmodel", small, ignore, quantize=True)
    with pytest.raises(InputError, match=r"has no engine 'coreml'; choose from keras, .*onnx"):
        open_engine(copy, "coreml")


def test_a_missing_package_is_named_with_its_install_command(
    copy: Run, small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnet.engines, "find_spec", lambda package: None)
    with pytest.raises(
        InputError, match=f"needs onnxruntime: {re.escape(install_command('onnx'))}"
    ):
        open_engine(copy, "onnx")
    with pytest.raises(InputError, match=re.escape(install_command("litert"))):
        export_run(copy, "litert", small, ignore)
    assert open_engine(copy).name == "keras"


def test_without_keras_and_exports_the_error_suggests_an_export(
    copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This is the situation in the serving container, which has LiteRT but not TensorFlow."""
    monkeypatch.setattr(thumbnet.engines, "is_backend_installed", lambda: False)
    assert open_engine(copy).name == "litert"
    copy.exports_record_path.unlink()
    with pytest.raises(InputError, match=f"thumbnet export {copy.path} --to litert`"):
        open_engine(copy)


def test_a_directory_with_an_invalid_utf_8_name_is_not_exported(
    exported: Run, tmp_path: Path
) -> None:
    copy = Run(Path(shutil.copytree(exported.path, tmp_path / "run\udcff")))
    assert copy.name == r"run\xff"
    with pytest.raises(InputError, match=r"run\\xff is not valid UTF-8, .* rename the directory"):
        export_run(copy, "litert", None, ignore)


def test_images_of_another_data_set_are_refused(copy: Run, sample: Dataset) -> None:
    before = copy.exports()
    with pytest.raises(InputError, match="was not trained on the images of bundled sample"):
        export_run(copy, "litert", sample, ignore)
    assert copy.exports() == before


def test_quantised_exports_are_not_chosen_by_default(copy: Run) -> None:
    records = {name: one for name, one in copy.exports().items() if name == "onnx-int8"}
    write_record(copy.exports_record_path, Exports(records))
    assert open_engine(copy).name == "keras"


def test_predict_uses_the_given_engine(exported: Run, small: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(small.test.images[0]).save(path)
    (default,), (keras,) = predict(exported, [path]), predict(exported, [path], "keras")
    assert default.class_name == keras.class_name
    assert default.confidence == pytest.approx(keras.confidence, abs=1e-5)


def test_predict_with_an_export_does_not_import_tensorflow(
    exported: Run, small: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(small.test.images[0]).save(path)
    script = (
        "import sys; from thumbnet.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "slow = {'tensorflow', 'keras', 'sklearn', 'scipy', 'matplotlib', 'pandas', 'requests'}\n"
        "print('imported:', sorted(slow & set(sys.modules)))"
    )
    for name in ("onnx", "openvino", "litert"):
        done = subprocess.run(
            [
                *(sys.executable, "-c", script),
                *("predict", str(exported.path), str(path), "--engine", name),
            ],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"COLUMNS": "200"},
        )
        assert "imported: []" in done.stdout
        assert "one.png" in done.stdout
        assert done.stderr == ""  # runtimes tend to print notices


@pytest.mark.parametrize("architecture", ["ann", "cnn"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_a_prepared_model_predicts_the_same(
    small: Dataset, architecture: str, activation: str
) -> None:
    keras = prepare_keras()
    values: dict[str, Any] = {
        "architecture": architecture,
        "widths": [8, 8],
        "activation": activation,
        "dropout": 0.3,
    }
    parameters = parameters_class(architecture).model_validate(values)
    trained = build_model(parameters, small.train.images, class_count=10, seed=0)
    generator = np.random.default_rng(0)
    for layer in trained.layers:  # statistics like after training
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    model = finished_model(trained, small.train.images.shape[1:])
    prepared = prepare_for_export(model, temperature=1.0)
    images = small.test.images[:20]
    np.testing.assert_allclose(
        prepared.predict_on_batch(images), model.predict_on_batch(images), atol=1e-5
    )
    kinds = [type(layer).__name__ for layer in prepared.layers]
    assert "Normalization" not in kinds
    assert "Dropout" not in kinds
    # It is kept after a pooling layer, where OpenVINO would misplace the activation.
    assert kinds.count("BatchNormalization") == (0 if architecture == "ann" else 2)
