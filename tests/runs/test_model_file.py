"""Model files from untrusted sources."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thumbnet.engines import KerasEngine, file_digest, open_engine
from thumbnet.errors import InputError
from thumbnet.runs.model_file import require_safe_model
from thumbnet.runs.run import Run
from thumbnet.runtime import prepare_keras

Members = dict[str, bytes]


def members_of(path: Path) -> Members:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_layer(layer: dict[str, Any]) -> Callable[[Members], Members]:
    """Append a layer to the model's configuration."""

    def change(members: Members) -> Members:
        config = json.loads(members["config.json"])
        config["config"]["layers"].append(layer)
        return members | {"config.json": json.dumps(config).encode()}

    return change


def with_values(**values: Any) -> Callable[[Members], Members]:
    """Change values in all layers of the model's configuration that have these keys."""

    def change(members: Members) -> Members:
        config = json.loads(members["config.json"])
        for layer in config["config"]["layers"]:
            layer.pop("build_config", None)
            layer["config"].update({k: v for k, v in values.items() if k in layer["config"]})
        return members | {"config.json": json.dumps(config).encode()}

    return change


def with_weights(write_into: Callable[[h5py.File], None]) -> Callable[[Members], Members]:
    """Add something to the weights file."""

    def change(members: Members) -> Members:
        file = io.BytesIO(members["model.weights.h5"])
        with h5py.File(file, "a") as weights:
            write_into(weights)
        return members | {"model.weights.h5": file.getvalue()}

    return change


def link_outside(weights: h5py.File) -> None:
    weights["secret"] = h5py.ExternalLink("/etc/passwd", "/")


def link_within(weights: h5py.File) -> None:
    weights["again"] = h5py.SoftLink("/layers")


def store_outside(weights: h5py.File) -> None:
    weights.create_dataset("secret", (4,), np.uint8, external=[("/etc/passwd", 0, 4)])


def bomb(weights: h5py.File) -> None:
    weights.create_dataset("bomb", (2**32,), np.uint8, compression="gzip", chunks=(2**20,))


def crowd(weights: h5py.File) -> None:
    for number in range(10_001):
        weights.create_group(f"crowd/{number}")


def hold_text(weights: h5py.File) -> None:
    weights["text"] = "text"


CRAFTED: dict[str, tuple[Callable[[Members], Members], str]] = {
    "a Lambda": (
        with_layer({"module": "keras.layers", "class_name": "Lambda", "config": {}}),
        "refers to keras.layers.Lambda",
    ),
    "a function of another module": (
        with_layer({"module": "os", "class_name": "system", "config": {"command": "true"}}),
        "refers to os.system",
    ),
    "a SavedModel": (
        with_layer({"module": "keras.layers", "class_name": "TFSMLayer", "config": {}}),
        "refers to keras.layers.TFSMLayer",
    ),
    "a layer that reads a file": (
        with_layer({"module": "keras.layers", "class_name": "StringLookup", "config": {}}),
        "refers to keras.layers.StringLookup",
    ),
    "a class without a module": (with_layer({"class_name": "Dense"}), "refers to None.Dense"),
    "a huge layer": (
        with_layer({"module": "keras.layers", "class_name": "Dense", "config": {"units": 10**9}}),
        "units is 1,000,000,000",
    ),
    "a huge pool": (
        with_layer(
            {
                "module": "keras.layers",
                "class_name": "MaxPooling2D",
                "config": {"pool_size": [2, 10**9]},
            }
        ),
        "pool_size is 1,000,000,000",
    ),
    "more weights than the file has": (
        with_values(units=16_000, filters=16_000),
        r"its layers have \d+,\d+,\d+ weights, but the file has [\d,]+$",
    ),
    "layers that do not fit": (with_values(axis=[7]), "not loaded"),
    "a path that climbs out": (
        lambda members: members | {"../evil": b""},
        r"it contains \.\./evil",
    ),
    "no weights": (
        lambda members: {k: v for k, v in members.items() if not k.endswith("h5")},
        "it contains config.json, metadata.json",
    ),
    "a configuration too large": (
        lambda members: members | {"config.json": b" " * (2**21 + 1)},
        "it has 2,",
    ),
    "a configuration too deep": (
        lambda members: members | {"config.json": b"[" * 100_000},
        "not loaded",
    ),
    "a link to another file": (with_weights(link_outside), "has a link"),
    "a link within": (with_weights(link_within), "has a link"),
    "an array kept in another file": (with_weights(store_outside), "secret is not a plain array"),
    "a bomb in the weights": (with_weights(bomb), "bomb is compressed"),
    "a crowd of groups": (with_weights(crowd), "more than 10,000 arrays"),
    "text among the weights": (with_weights(hold_text), "text is not a plain array"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CRAFTED)
def test_a_malicious_model_is_not_loaded(finished_run: Run, tmp_path: Path, name: str) -> None:
    change, message = CRAFTED[name]
    path = write(tmp_path / "model.keras", change(members_of(finished_run.model_path)))
    with pytest.raises(InputError, match=message):
        KerasEngine(path)


def test_a_model_with_huge_layer_outputs_is_not_loaded(tmp_path: Path) -> None:
    keras = prepare_keras()
    pixels = keras.Input((8, 8, 3), name="pixels")
    padded = keras.layers.ZeroPadding2D(5_000, name="padding")(pixels)
    small = keras.layers.GlobalAveragePooling2D()(padded)
    keras.Model(pixels, keras.layers.Dense(2)(small)).save(tmp_path / "model.keras")
    with pytest.raises(InputError, match="its layer padding has 300,480,192 outputs per image"):
        KerasEngine(tmp_path / "model.keras")


def test_a_compressed_model_is_not_loaded(finished_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members_of(finished_run.model_path).items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match="its content is compressed"):
        KerasEngine(path)


def test_a_model_in_another_format_is_not_loaded(tmp_path: Path) -> None:
    keras = prepare_keras()
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(tmp_path / "model.h5")
    shutil.copy(tmp_path / "model.h5", path)
    with pytest.raises(InputError, match="not loaded: File is not a zip file"):
        require_safe_model(path)


def test_a_matching_digest_does_not_make_a_model_safe(finished_run: Run, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    change, _ = CRAFTED["a Lambda"]
    write(run.model_path, change(members_of(run.model_path)))
    changed = {"model_sha256": file_digest(run.model_path)}
    run.write_metrics(run.metrics().model_copy(update=changed))
    with pytest.raises(InputError, match="Lambda, which is not a known layer"):
        open_engine(run)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_model_is_refused_or_unchanged(
    finished_run: Run, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(finished_run.model_path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[position:]
    else:
        content[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("model") / "model.keras"
    path.write_bytes(content)
    refusal = str(path)
    try:
        require_safe_model(path)
    except InputError as error:
        refusal = str(error)
    assert str(path) in refusal
