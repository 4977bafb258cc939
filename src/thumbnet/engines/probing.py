"""Test an exported model in a child process before opening it.

The runtimes read models in C++, and a file with a few changed bytes can crash the process that
opens it. Therefore a child process opens each file first: it loads the model and predicts. The
digests of files that pass are remembered, so that they are tested only once.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from thumbnet.data.sources.cache import default_cache_directory
from thumbnet.errors import InputError
from thumbnet.isolated import ChildFailedError, call_isolated

# A SavedModel needs TensorFlow, which may take half a minute to import on a busy machine.
_SECONDS = 180.0
_MEMORY_BYTES = 6 * 2**30
_PASSED: set[str] = set()


def require_loadable(
    name: str, package: str, path: Path, class_names: tuple[str, ...], digests: Mapping[str, str]
) -> None:
    """Refuse a model that crashes its runtime.

    Args:
        name: name of the engine.
        package: its runtime.
        path: the exported file or folder.
        class_names: one for each column of the predictions.
        digests: SHA-256 of the files.

    Raises:
        InputError: the runtime crashed, timed out or refused the file, or its output is not valid.
    """
    key = _key(name, package, digests)
    if key in _PASSED or _marker(key).exists():
        return
    try:
        call_isolated(_try, name, path, class_names, seconds=_SECONDS, memory_bytes=_MEMORY_BYTES)
    except (ChildFailedError, MemoryError) as error:
        reason = str(error) or "it needs too much memory"
        raise InputError(
            f"{path} cannot be opened safely: {package} failed in a test process ({reason}); the "
            "file is damaged or malicious, so export the run again"
        ) from error
    remember_loadable(name, package, digests)


def remember_loadable(name: str, package: str, digests: Mapping[str, str]) -> None:
    """Remember that a model works, for this and later processes of this user."""
    key = _key(name, package, digests)
    _PASSED.add(key)
    marker = _marker(key)
    # If it cannot be written, as in a container, the model is tested again next time.
    with contextlib.suppress(OSError):
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()


def _try(name: str, path: Path, class_names: tuple[str, ...]) -> None:
    """Load a model and predict batches of two sizes."""
    from thumbnet.engines import open_model

    engine = open_model(name, path, class_names)
    for size in (1, 3):
        images = np.zeros((size, *engine.image_shape), np.uint8)
        answers = engine.predict(images)
        if answers.shape != (size, len(class_names)) or not np.isfinite(answers).all():
            raise InputError(f"{path} does not predict valid probabilities; export the run again")


def _key(name: str, package: str, digests: Mapping[str, str]) -> str:
    try:
        release = version(package.replace("_", "-"))
    except PackageNotFoundError:  # TensorFlow's package has several names
        release = ""
    text = json.dumps([name, package, release, sorted(digests.items())])
    return hashlib.sha256(text.encode()).hexdigest()


def _marker(key: str) -> Path:
    return default_cache_directory() / "sound-models" / key
