"""Describes a machine and measures its speed, so that timings can be compared across machines.

The reference is the rate of one large matrix product (sgemm) in NumPy: training time multiplied by
that rate is comparable between slow and fast machines.
"""

import itertools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from thumbnet.record import Count, Record, Text
from thumbnet.runtime import backend, describe_onednn

PACKAGES = ("thumbnet", "keras", "tensorflow-cpu", "tensorflow", "jax", "numpy", "scikit-learn")

SGEMM_SIZE = 4_096
# At most 3 seconds with the warm-up: every training measures this before it starts.
SGEMM_SECONDS = 2.0
SGEMM_RUNS = 5

# Three arrays of 64 MB each, much larger than the caches of a CPU.
TRIAD_VALUES = 16_000_000
TRIAD_RUNS = 5


class Host(Record):
    """The hardware and software that a process runs on.

    Attributes:
        python: version of Python.
        platform: the operating system.
        processor: name of the CPU, as reported by the system.
        cores: number of cores of the system; None if unknown.
        threads: number of threads that this process may run at the same time.
        backend: the Keras backend.
        onednn: whether TensorFlow uses oneDNN, and why.
        versions: versions of the packages that affect results.
        git_revision: the commit of the checkout that this package runs from; None for a wheel.
    """

    python: Text
    platform: Text
    processor: Text
    cores: Count | None
    threads: Count
    backend: Text
    onednn: Text
    versions: dict[Text, Text]
    git_revision: Text | None


def describe_host() -> Host:
    """The hardware and software that this process runs on."""
    return Host(
        python=platform.python_version(),
        platform=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count(),
        threads=len(os.sched_getaffinity(0)),
        backend=backend(),
        onednn=describe_onednn(),
        versions={name: found for name in PACKAGES if (found := _version(name))},
        git_revision=_git_revision(),
    )


@dataclass(frozen=True)
class Machine:
    """The content of `thumbnet bench machine`.

    Attributes:
        processor: name of the CPU.
        cores: number of cores of the system.
        threads: number of threads that this process may run at the same time.
        blas: the BLAS library that NumPy uses, with its version.
        blas_threads: number of threads that it uses.
        numpy: version of NumPy.
        sgemm_gflops: 10⁹ floating-point operations per second, see `sgemm_gflops`.
        bandwidth_gb_per_second: 10⁹ bytes per second, see `triad_bandwidth`.
    """

    processor: str
    cores: int
    threads: int
    blas: str
    blas_threads: int
    numpy: str
    sgemm_gflops: float
    bandwidth_gb_per_second: float


def measure_machine() -> Machine:
    """Describe this machine and measure its speed, which takes about 4 seconds."""
    here = describe_host()
    blas, blas_threads = _blas()
    return Machine(
        processor=here.processor,
        cores=here.cores or 0,
        threads=here.threads,
        blas=blas,
        blas_threads=blas_threads,
        numpy=np.__version__,
        sgemm_gflops=sgemm_gflops(),
        bandwidth_gb_per_second=triad_bandwidth(),
    )


def sgemm_gflops() -> float:
    """The rate of a product of two 4096×4096 float32 matrices, on all threads of BLAS.

    The median of up to five runs, fewer if they would take more than two seconds, after a smaller
    product that starts the threads.

    Returns:
        10⁹ floating-point operations per second, counting 2·4096³ operations per product.
    """
    random = np.random.default_rng(0)
    left, right = random.random((2, SGEMM_SIZE, SGEMM_SIZE), dtype=np.float32)
    product = np.zeros_like(left)  # written once, so that no run waits for page faults
    quarter = SGEMM_SIZE // 4
    np.matmul(left[:quarter], right, out=product[:quarter])
    seconds: list[float] = []
    while len(seconds) < SGEMM_RUNS and sum(seconds) + max(seconds, default=0) < SGEMM_SECONDS:
        seconds.append(_seconds(lambda: np.matmul(left, right, out=product)))
    return 2 * SGEMM_SIZE**3 / statistics.median(seconds) / 1e9


def triad_bandwidth() -> float:
    """Memory bandwidth of all threads: the best of five runs of a STREAM triad.

    NumPy computes a = b + s·c in two passes, with five transfers of each value in total
    (McCalpin's STREAM, which fuses the passes, counts three).

    Returns:
        10⁹ bytes per second.
    """
    threads = len(os.sched_getaffinity(0))
    total, first, second = (np.full(TRIAD_VALUES, 1.0, np.float32) for _ in range(3))

    def part(chunk: slice) -> None:
        np.multiply(second[chunk], np.float32(3), out=total[chunk])
        np.add(total[chunk], first[chunk], out=total[chunk])

    bounds = np.linspace(0, TRIAD_VALUES, threads + 1, dtype=np.int64)
    chunks = [slice(*pair) for pair in itertools.pairwise(bounds)]
    with ThreadPoolExecutor(threads) as workers:  # NumPy releases the GIL
        best = min(_seconds(lambda: list(workers.map(part, chunks))) for _ in range(TRIAD_RUNS))
    return 5 * total.nbytes / best / 1e9


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _blas() -> tuple[str, int]:
    """Name and version of the BLAS that NumPy has loaded, and its number of threads."""
    from threadpoolctl import threadpool_info

    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    if not found:
        return "unknown", 0
    # NumPy's is loaded first; SciPy brings another copy.
    library = found[0]
    return f"{library['internal_api']} {library['version']}", library["num_threads"]


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
