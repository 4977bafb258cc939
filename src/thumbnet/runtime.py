"""What must be decided before Keras is imported, and the record of what was decided.

Importing this module sets environment variables and nothing else; `thumbnet/__init__.py` imports
it first, so that every way into the package goes through it.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from thumbnet.errors import InputError
from thumbnet.installing import install_command

PACKAGES = ("thumbnet", "keras", "tensorflow-cpu", "tensorflow", "jax", "numpy", "scikit-learn")

# TensorFlow leaves oneDNN off on processors it does not know to be fast with it; on AMD Zen 3 it
# makes training 1.65 times as fast. It is read once, when TensorFlow is first imported.
_TENSORFLOW_WAS_FIRST = "tensorflow" in sys.modules
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# TensorFlow is the faster of the two on a processor: with oneDNN, four times as fast as JAX.
_BACKENDS = ("tensorflow", "jax")
# TensorFlow's start-up notices (level 1) say nothing that a user of Thumbnet can act on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def _choose_backend() -> str:
    """The backend of a Keras that is imported already, else the user's choice, else the fastest."""
    if "keras" in sys.modules:
        return backend()
    if chosen := os.environ.get("KERAS_BACKEND"):
        return chosen
    installed = list(filter(find_spec, _BACKENDS))
    if (configured := _configured_backend()) in installed:
        return configured
    return next(iter(installed), _BACKENDS[0])


def _configured_backend() -> str:
    """The backend in `keras.json`; empty where there is none. Keras finds the file in this way."""
    # Path.expanduser raises where no home is known.
    home = os.path.expanduser("~")  # noqa: PTH111
    if not os.access(home, os.W_OK):
        home = "/tmp"
    path = Path(os.environ.get("KERAS_HOME", f"{home}/.keras"), "keras.json")
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def backend() -> str:
    """Keras's backend: "tensorflow" or "jax", or another that `prepare_keras` refuses."""
    if "keras" in sys.modules:
        name: str = sys.modules["keras"].config.backend()
        return name
    return os.environ["KERAS_BACKEND"]


def is_backend_installed() -> bool:
    """Whether what Keras computes with can be imported."""
    return find_spec(backend()) is not None


# Keras and the processes that this one starts read it.
os.environ["KERAS_BACKEND"] = _choose_backend()


@cache
def prepare_keras() -> Any:
    """Import Keras, once, on the backend chosen above.

    Everything that needs Keras asks here, in the function that needs it: importing TensorFlow
    takes several seconds, and `thumbnet --help` should not.

    Raises:
        InputError: the backend is not installed or not supported, or Keras is configured for
            images or numbers of another kind.
    """
    if backend() not in _BACKENDS:
        raise InputError(
            f"Keras is set to compute with {backend()}, which Thumbnet does not support: set "
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
                f"Keras is configured with {name} = {found!r}, and Thumbnet needs {needed!r}: "
                f"change it in keras.json, or call keras.config.set_{name}({needed!r})"
            )
    return keras


def computes_in(precision: str) -> bool:
    """Whether the hardware has arithmetic of its own for a mixed precision; a GPU is taken to."""
    if precision == "float32" or _has_gpu():
        return True
    kind = {"mixed_bfloat16": "_bf16", "mixed_float16": "_fp16"}[precision]
    return any(flag.startswith(("avx512", "amx")) and flag.endswith(kind) for flag in _flags())


def fastest_precision() -> Literal["float32", "mixed_bfloat16"]:
    """What trains fastest: 16 bits on a GPU, and where a processor multiplies tiles of them.

    Intel's AMX does so: a step of `strong` took it less than half the time of float32, before
    Winograd's tiles fitted the images (benchmarks/results/recipes.md). Processors with AVX-512
    instructions for bfloat16 alone were not measured, and stay with float32.
    """
    return "mixed_bfloat16" if _has_gpu() or "amx_bf16" in _flags() else "float32"


def _has_gpu() -> bool:
    if backend() != "jax":
        return False
    import jax

    return bool(jax.default_backend() != "cpu")


def _flags() -> list[str]:
    """What the processor can do, in the words of Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])


def make_deterministic() -> None:
    """Have every operation give the same bits for the same input, from now on in this process.

    The seed is the caller's to set. JAX is deterministic on a processor as it is; on a GPU it
    takes `XLA_FLAGS=--xla_gpu_deterministic_ops=true`, set before it starts.
    """
    prepare_keras()
    if backend() == "tensorflow":
        import tensorflow

        tensorflow.config.experimental.enable_op_determinism()


def is_out_of_memory(error: Exception) -> bool:
    """Whether NumPy or the backend ran out of memory; each backend has an exception of its own."""
    return isinstance(error, MemoryError) or (
        type(error).__name__ in ("ResourceExhaustedError", "JaxRuntimeError", "XlaRuntimeError")
        and any(words in str(error) for words in ("OOM", "out of memory", "RESOURCE_EXHAUSTED"))
    )


@contextmanager
def without_notices() -> Iterator[None]:
    """Keep what the C++ side of TensorFlow or LiteRT prints while it loads from the user's screen.

    Those lines come before its log level is read, and go past `sys.stderr`.
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


def describe_environment() -> dict[str, Any]:
    """Where this process runs and with what, as plain values for a run's record."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": len(os.sched_getaffinity(0)),
        "backend": backend(),
        "onednn": _onednn(),
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "git_revision": _git_revision(),
    }


def _onednn() -> str:
    if backend() != "tensorflow":
        return "not used by this backend"
    if os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0":
        return "off: TF_ENABLE_ONEDNN_OPTS=0 is set"
    if _TENSORFLOW_WAS_FIRST:
        return "as TensorFlow chose: it was imported before thumbnet"
    return "on: TF_ENABLE_ONEDNN_OPTS=1 was set before TensorFlow was imported"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """The commit of the checkout that this package runs from; None for an installed wheel."""
    package = Path(__file__).parent
    if package.parent.name != "src":
        return None
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=package,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
