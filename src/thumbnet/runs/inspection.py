"""The contents of a run directory, without executing code from it or loading its model.

This is for runs from other people: files and records are only read, and the layers come from the
configuration in `model.keras`.
"""

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from thumbnet.errors import InputError, shown
from thumbnet.recipe import Recipe
from thumbnet.record import Count, Record, Text
from thumbnet.runs.model_file import MAXIMUM_CONFIG_BYTES, require_known_layers
from thumbnet.runs.records import Environment, Metrics
from thumbnet.runs.run import Run

MAXIMUM_FILES = 10_000
# The maximum size of a model; larger files are listed but not read.
MAXIMUM_READ_BYTES = 2**31
_SHOWN_SETTINGS = ("units", "filters", "kernel_size", "strides", "pool_size", "activation", "rate")

Found = TypeVar("Found")


class InspectedFile(Record):
    """A file of the run.

    Attributes:
        name: its printable path within the run directory.
        bytes: its size.
        sha256: SHA-256 of its content; None if it was not read, see `note`.
        note: why it was not read, such as "a link"; empty if it was read.
    """

    name: Text
    bytes: Count
    sha256: Text | None
    note: Text = ""


class InspectedLayer(Record):
    """A layer, according to the model's configuration.

    Attributes:
        name: its name.
        kind: its class, with its module if it is not from Keras.
        settings: its size and activation, such as "units 10, activation relu".
    """

    name: Text
    kind: Text
    settings: Text


class Inspection(Record):
    """The contents of a run directory.

    Attributes:
        path: path of the directory.
        files: all files, sorted by name.
        finished: whether training has finished.
        recipe: a description of the recipe; None if it cannot be read.
        layers: layers of `model.keras`; empty if it is missing or cannot be read.
        environment, metrics: the records; None if they are missing or damaged.
        problems: files that cannot be read, and whether the model would be refused.
    """

    path: Text
    files: list[InspectedFile]
    finished: bool
    recipe: Text | None
    layers: list[InspectedLayer]
    environment: Environment | None
    metrics: Metrics | None
    problems: list[Text]


def inspect_run(path: str | Path) -> Inspection:
    """Inspect a run directory.

    Raises:
        InputError: `path` is not a directory.
    """
    run, problems = Run(Path(path)), list[str]()
    if not run.path.is_dir():
        raise InputError(f"{shown(path)} is not a directory; give the directory of a run")

    def attempt(read: Callable[[], Found]) -> Found | None:
        try:
            return read()
        except InputError as error:
            problems.append(shown(str(error)))
            return None

    config = attempt(lambda: _model_config(run.model_path)) if run.model_path.exists() else None
    if config is not None:
        attempt(lambda: _require_known_layers(run.model_path, config))
    files = attempt(lambda: list(_files(run.path))) or []
    metrics = attempt(run.metrics) if run.finished else None
    exports = attempt(run.exports) or {}
    expected = {
        f"exports/{name}": digest for one in exports.values() for name, digest in one.files.items()
    }
    if metrics is not None:
        expected["model.keras"] = metrics.model_sha256
    problems += [
        f"{file.name} was modified: its SHA-256 differs from the recorded one"
        for file in files
        if file.sha256 is not None and expected.get(file.name, file.sha256) != file.sha256
    ]
    return Inspection(
        path=shown(run.path),
        files=files,
        finished=run.finished,
        recipe=attempt(lambda: _in_words(run.recipe())),
        layers=[] if config is None else list(map(_layer, config["config"]["layers"])),
        environment=attempt(run.environment),
        metrics=metrics,
        problems=problems,
    )


def _in_words(recipe: Recipe) -> str:
    return (
        f"{recipe.name}: {recipe.model.architecture}, {recipe.epochs} epochs, batches of "
        f"{recipe.batch_size}, {recipe.optimizer.name} with a learning rate of "
        f"{recipe.optimizer.learning_rate:g}, {recipe.precision}, seed {recipe.seed}"
    )


def _files(directory: Path) -> Iterator[InspectedFile]:
    """Every file below a directory; links are listed but not followed.

    Raises:
        InputError: there are more than `MAXIMUM_FILES`.
    """
    count = 0
    for folder, folders, names in os.walk(directory):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*names, *links]):
            count += 1
            if count > MAXIMUM_FILES:
                raise InputError(
                    f"{shown(directory)} contains more than {MAXIMUM_FILES:,} files, so it is not "
                    "a run of Thumbnet"
                )
            yield _file(Path(folder) / name, directory)


def _file(path: Path, directory: Path) -> InspectedFile:
    name = shown(path.relative_to(directory))
    try:
        status = path.lstat()
        note = ""
        if stat.S_ISLNK(status.st_mode):
            note = f"a link to {shown(path.readlink())}"
        elif not stat.S_ISREG(status.st_mode):
            note = "not a regular file"
        elif status.st_size > MAXIMUM_READ_BYTES:
            note = "too large to read"
        if note:
            return InspectedFile(name=name, bytes=status.st_size, sha256=None, note=note)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        note = f"cannot be read: {error.strerror}"
        return InspectedFile(name=name, bytes=0, sha256=None, note=note)
    return InspectedFile(name=name, bytes=status.st_size, sha256=digest)


def _model_config(path: Path) -> dict[str, Any]:
    """The configuration in a `.keras` file.

    Raises:
        InputError: it cannot be read, or does not describe layers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("config.json").file_size > MAXIMUM_CONFIG_BYTES:
                raise InputError("its configuration is too large")
            config: dict[str, Any] = json.loads(archive.read("config.json"))
        for layer in config["config"]["layers"]:
            _layer(layer)
    except Exception as error:  # zipfile and json raise a dozen types for a damaged file
        raise InputError(f"cannot read the layers of {shown(path)}: {error}") from error
    return config


def _require_known_layers(path: Path, config: Any) -> None:
    try:
        require_known_layers(config)
    except Exception as error:  # such as a string that is compared with a number
        raise InputError(f"{shown(path)} would be refused: {error}") from error


def _layer(layer: Any) -> InspectedLayer:
    module, kind, config = str(layer["module"]), str(layer["class_name"]), layer["config"]
    settings = ", ".join(
        f"{key.replace('_', ' ')} {config[key]}" for key in _SHOWN_SETTINGS if config.get(key)
    )
    return InspectedLayer(
        name=shown(str(config.get("name", "")))[:200],
        kind=shown(kind if module == "keras.layers" else f"{module}.{kind}")[:200],
        settings=shown(settings)[:200],
    )
