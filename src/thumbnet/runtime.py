"""Settings that must be made before Keras is imported.

Importing this module only sets environment variables. `thumbnet/__init__.py` imports it first, so
that it takes effect for every entry point.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from thumbnet.errors import InputError
from thumbnet.installing import install_command

# TensorFlow enables oneDNN only on CPUs on which it is known to be fast; on AMD Zen 3 it makes
# training 1.65 times as fast. TensorFlow reads the variable once, on import.
_TENSORFLOW_WAS_FIRST = "tensorflow" in sys.modules
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Fastest first: on a CPU, TensorFlow with oneDNN is four times as fast as JAX.
_BACKENDS = ("tensorflow", "jax")
# Users of Thumbnet cannot act on TensorFlow's start-up messages (level 1).
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _choose_backend() -> str:
    """The backend of Keras if it is already imported, else the user's choice, else the fastest."""
    if "keras" in sys.modules:
        return backend()
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    installed = list(filter(find_spec, _BACKENDS))
    if (configured := _configured_backend()) in installed:
        return configured
    return next(iter(installed), _BACKENDS[0])


def _configured_backend() -> str:
    """The backend in `keras.json`, found as Keras finds it; empty if there is none."""
    # Path.expanduser raises an exception if there is no home directory.
    home = os.path.expanduser("~")  # noqa: PTH111
    if not os.access(home, os.W_OK):
        home = "/tmp"
    path = Path(os.environ.get("KERAS_HOME", f"{home}/.keras"), "keras.json")
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def backend() -> str:
    """Name of the Keras backend: "tensorflow", "jax", or another that `prepare_keras` refuses."""
    if "keras" in sys.modules:
        name: str = sys.modules["keras"].config.backend()
        return name
    return os.environ["KERAS_BACKEND"]


def is_backend_installed() -> bool:
    """Whether the Keras backend is installed."""
    return find_spec(backend()) is not None


# Read by Keras and by child processes.
os.environ["KERAS_BACKEND"] = _choose_backend()


@cache
def prepare_keras() -> Any:
    """Import Keras with the backend chosen above.

    Call this inside the function that needs Keras, not at import time: importing TensorFlow takes
    several seconds, and `thumbnet --help` should not.

    Raises:
        InputError: the backend is not installed or not supported, or Keras is configured for a
            different image layout or float type.
    """
    if backend() not in _BACKENDS:
        raise InputError(
            f"the Keras backend is {backend()}, which Thumbnet does not support: set "
            "KERAS_BACKEND=tensorflow or KERAS_BACKEND=jax before Keras is imported"
        )
    if not is_backend_installed():
        raise InputError(
            f"Keras needs {backend()}, which is not installed: {install_command(backend())}"
        )
    with without_notices():
        import keras

    for name, needed in (("image_data_format", "channels_last"), ("floatx", "float32")):
        found = getattr(keras.config, name)()
        if found != needed:
            raise InputError(
                f"Keras is configured with {name} = {found!r}, but Thumbnet needs {needed!r}: "
                f"change it in keras.json, or call keras.config.set_{name}({needed!r})"
            )
    return keras


def computes_in(precision: str) -> bool:
    """Whether the hardware supports a precision natively; a GPU is assumed to."""
    if precision == "float32" or _has_gpu():
        return True
    kind = {"mixed_bfloat16": "_bf16", "mixed_float16": "_fp16"}[precision]
    return any(flag.startswith(("avx512", "amx")) and flag.endswith(kind) for flag in _flags())


def fastest_precision() -> Literal["float32", "mixed_bfloat16"]:
    """The precision that trains fastest: bfloat16 on a GPU or a CPU with AMX, else float32.

    With Intel's AMX, a step of `strong` took less than half the time of float32, before Winograd
    tile sizes were fitted to the images (benchmarks/results/recipes.md). CPUs with AVX-512
    instructions for bfloat16 but without AMX were not measured; they use float32.
    """
    return "mixed_bfloat16" if _has_gpu() or "amx_bf16" in _flags() else "float32"


def _has_gpu() -> bool:
    if backend() != "jax":
        return False
    import jax

    return bool(jax.default_backend() != "cpu")


def _flags() -> list[str]:
    """CPU feature flags, as Linux names them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])


def make_deterministic() -> None:
    """Make every operation in this process bitwise deterministic from now on.

    The caller sets the seed. JAX is always deterministic on a CPU; on a GPU it needs
    `XLA_FLAGS=--xla_gpu_deterministic_ops=true`, set before it starts.
    """
    prepare_keras()
    if backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def is_out_of_memory(error: Exception) -> bool:
    """Whether NumPy or the backend ran out of memory; each raises a different exception."""
    return isinstance(error, MemoryError) or (
        type(error).__name__ in ("ResourceExhaustedError", "JaxRuntimeError", "XlaRuntimeError")
        and any(words in str(error) for words in ("OOM", "out of memory", "RESOURCE_EXHAUSTED"))
    )


@contextmanager
def without_notices() -> Iterator[None]:
    """Hide the output of TensorFlow's or LiteRT's C++ code while it loads.

    Those lines are printed before the log level is read, and they bypass `sys.stderr`.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)


def describe_onednn() -> str:
    """Whether TensorFlow uses oneDNN, as text for a run's record."""
    if backend() != "tensorflow":
        return "not used by this backend"
    if os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0":
        return "off: TF_ENABLE_ONEDNN_OPTS=0 is set"
    if _TENSORFLOW_WAS_FIRST:
        return "TensorFlow's default: it was imported before thumbnet"
    return "on: TF_ENABLE_ONEDNN_OPTS=1 was set before TensorFlow was imported"
