"""A real service with real runs, in a separate process."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from server_process import Serve, Server, served

from thumbnet.data.dataset import Dataset
from thumbnet.data.stored import UInt8Array
from thumbnet.runs.run import Run
from thumbnet.serving.model import bundled_run


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Serve:
    """Start a service with these arguments, for a `with`."""

    def start(*arguments: str | Path, **more: str) -> Any:
        log = tmp_path_factory.mktemp("serving") / "log"
        return served(log, *map(str, arguments), **more)

    return start


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """The bundled run under two names."""
    places = [tmp_path_factory.mktemp("runs") / name for name in ("first", "second")]
    for place in places:
        shutil.copytree(bundled_run().path, place)
    return Run(places[0]), Run(places[1])


@pytest.fixture(scope="session")
def server(serve: Serve, two_runs: tuple[Run, Run], repository: Path) -> Iterator[Server]:
    """A service of two models, the first in two versions, with more to load."""
    first, second = (str(run.path) for run in two_runs)
    again = f"first={second}"
    with serve(first, second, again, "--repository", repository) as server:
        yield server


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of runs: one without versions, one with, and entries that are not runs."""
    directory = tmp_path_factory.mktemp("repository")
    shutil.copytree(bundled_run().path, directory / "plain")
    for version in ("1", "7"):
        shutil.copytree(bundled_run().path, directory / "numbered" / version)
    shutil.copytree(bundled_run().path, directory / "broken")
    (directory / "broken" / "exports" / "model.tflite").write_bytes(b"no model")
    (directory / "nothing").mkdir()
    return directory


@pytest.fixture(scope="session")
def images(sample: Dataset) -> UInt8Array:
    """Real test images."""
    return np.asarray(sample.test.images[:40])


@pytest.fixture(scope="session")
def pictures(images: UInt8Array, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The first few as files."""
    directory = tmp_path_factory.mktemp("pictures")
    paths = [directory / f"{position}.png" for position in range(4)]
    for path, image in zip(paths, images, strict=False):
        Image.fromarray(image).save(path)
    return paths
