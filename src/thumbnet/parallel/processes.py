"""Data-parallel training of one model by several processes, on one machine or many.

Built on JAX's distributed runtime and Keras's `DataParallel`: every process holds the whole model
and computes its rows of each batch, and the gradients are summed over all processes. Batch
normalisation also covers the whole batch. The weights are therefore those that a single process
would get, up to the order of floating-point sums. All processes take the same steps and make the
same decisions; rank 0 writes the run directory.
"""

import io
import math
import socket
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.data.stored import Int64Array
from thumbnet.errors import InputError, LostProcessError, ThumbnetError, quoted
from thumbnet.installing import install_command
from thumbnet.parallel.launch import Launch
from thumbnet.parallel.supervision import SetMessage, supervised
from thumbnet.runtime import backend, prepare_keras

# The slowest host may have to pull a container image and start Python.
JOIN_SECONDS = 300
# A process that sends no heartbeat for this long counts as lost. If only the process dies and its
# host stays up, its closed connections show that at once.
HEARTBEAT_SECONDS = 30
LEAVE_SECONDS = 60
# When all processes fail for the same reason, rank 0 waits this long before it exits: it runs the
# coordinator, and JAX kills the others with it before they could print their message.
GRACE_SECONDS = 3

# The files of a run directory that resuming reads.
_RESUMED_FROM = (
    "recipe.toml",
    "environment.json",
    "metrics.json",
    "history.csv",
    "checkpoints/step-*.npz",
)


@dataclass(frozen=True)
class Processes:
    """The processes that train together, seen from one of them.

    Attributes:
        rank: rank of this process, from 0.
        count: number of processes.
        devices: number of devices (CPUs or accelerators) of all processes together.
    """

    rank: int = 0
    count: int = 1
    devices: int = 1

    def require_even(self, images: int) -> None:
        """Refuse a batch size that does not divide evenly among the devices.

        Raises:
            InputError: the message names the size.
        """
        if images % self.devices:
            raise InputError(
                f"batches of {images} images cannot be divided evenly among {self.devices} "
                f"devices; set batch_size to a multiple of {self.devices}"
            )

    def round_up(self, size: int) -> int:
        """The smallest multiple of the number of devices that is at least `size`."""
        return -(-size // self.devices) * self.devices

    def shard(self, start: int, stop: int) -> slice | Int64Array:
        """The positions between `start` and `stop` that this process computes.

        If they do not divide evenly, the whole range is repeated until it does; means over the
        positions are unchanged.
        """
        if self.devices == 1:
            return slice(start, stop)
        size = stop - start
        size *= self.devices // math.gcd(size, self.devices)
        own = np.arange(size * self.rank // self.count, size * (self.rank + 1) // self.count)
        return start + own % (stop - start)

    def gather(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """The values of all processes, stacked by rank; float64 values come back as float32."""
        array = np.asarray(values)
        if self.count == 1:
            return array[np.newaxis]
        from jax.experimental.multihost_utils import process_allgather

        narrow = array.astype(np.float32) if array.dtype == np.float64 else array
        return np.asarray(process_allgather(narrow))

    def first(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """The values of rank 0."""
        gathered: npt.NDArray[Any] = self.gather(values)[0]
        return gathered

    def replicate(self, value: float) -> Any:
        """A number that is the same on all processes, in a form that is cheap to assign.

        For a plain number, JAX first checks with all processes that they agree on it.
        """
        if self.devices == 1:
            return value
        import jax

        keras = prepare_keras()
        layout = keras.distribution.TensorLayout([], keras.distribution.distribution().device_mesh)
        scalar = np.float32(value)
        return jax.make_array_from_callback((), layout.backend_layout, lambda index: scalar)

    def require_same(self, text: str, what: str) -> None:
        """Refuse to train with processes that disagree on something that must be the same.

        Args:
            text: what must be the same, as text.
            what: what `text` describes, for the message.

        Raises:
            InputError: the message names a rank that differs from rank 0.
        """
        checksums = self.gather(np.uint32(zlib.crc32(text.encode())))
        if (others := np.flatnonzero(checksums != checksums[0])).size:
            self.leave()
            raise InputError(
                f"rank {others[0]} and rank 0 differ in {what}; start all processes with the same "
                "options, data and version of Thumbnet"
            )

    @contextmanager
    def mirrored(self, path: str | Path) -> Iterator[Path]:
        """Give every process a run directory.

        Rank 0 gets the directory at `path`. The others get a temporary copy of the files needed to
        resume, so that they need no access to rank 0's disk.

        Raises:
            LostProcessError: a collective operation in the body failed.
        """
        if self.count == 1:
            yield Path(path)
            return
        with tempfile.TemporaryDirectory(prefix="thumbnet-") as scratch:
            directory = Path(path) if self.rank == 0 else Path(scratch) / Path(path).name
            try:
                packed = self._broadcast(_pack(directory) if self.rank == 0 else b"")
                if self.rank:
                    zipfile.ZipFile(io.BytesIO(packed)).extractall(directory)
                yield directory
            except ThumbnetError as error:
                if self.rank == 0:
                    time.sleep(GRACE_SECONDS)
                message = str(error).replace(str(directory), str(path))
                raise type(error)(f"rank {self.rank} of {self.count}: {message}") from error
            except Exception as error:
                if not _is_failed_collective(error):
                    raise
                raise LostProcessError(_lost(self, path)) from error

    def _broadcast(self, content: bytes) -> bytes:
        """The bytes that rank 0 passes in, on every process."""
        from jax.experimental.multihost_utils import broadcast_one_to_all

        array = np.frombuffer(content, np.uint8)
        length = int(self.first(np.uint32(len(array))))
        sent = broadcast_one_to_all(array if self.rank == 0 else np.zeros(length, np.uint8))
        return np.asarray(sent).tobytes()

    def leave(self) -> None:
        """Shut down JAX's distributed runtime after the last step; each process then runs alone."""
        if self.devices == 1:
            return
        import jax

        jax.distributed.shutdown()
        prepare_keras().distribution.set_distribution(None)


SINGLE_PROCESS = Processes()


@contextmanager
def launched(launch: Launch, path: str | Path) -> Iterator[Processes]:
    """Join the processes that train the run at `path`, in a child process under a supervisor.

    Enter this context before any thread is started; see `supervised`.

    Raises:
        InputError: the Keras backend is not JAX, or the coordinator's port is in use.
    """
    if backend() != "jax":
        raise InputError(
            f"--distributed needs the JAX backend, but Keras uses {backend()}: set "
            f"KERAS_BACKEND=jax; if JAX is not installed: {install_command('jax')}"
        )
    with supervised(_resume_hint(path)) as set_message:
        processes = join(launch, set_message)
        set_message(_lost(processes, path))
        yield processes


def join(launch: Launch, set_message: SetMessage = lambda message: None) -> Processes:
    """Wait until all processes have joined, and have Keras divide its batches among them.

    Call this before anything is computed with JAX. JAX kills this process if the others do not
    join in time.

    Raises:
        InputError: the coordinator's port is in use.
    """
    import jax

    if launch.rank == 0:
        _require_free(launch.coordinator)
    set_message(
        f"rank {launch.rank} of {launch.count}: not all processes joined at "
        f"{launch.coordinator} within {JOIN_SECONDS} s; start all of them, and check that each "
        "can reach that host and port"
    )
    # JAX's own handler would replace the training loop's handler of SIGTERM.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        launch.coordinator,
        launch.count,
        launch.rank,
        None if launch.device is None else [launch.device],
        cluster_detection_method="deactivate",
        initialization_timeout=JOIN_SECONDS,
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        shutdown_timeout_seconds=LEAVE_SECONDS,
    )
    if jax.device_count() == 1:
        return SINGLE_PROCESS
    keras = prepare_keras()
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Processes(launch.rank, launch.count, jax.device_count())


def _require_free(coordinator: str) -> None:
    port = int(coordinator.rpartition(":")[2])
    try:
        with socket.create_server(("", port)):
            return
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--distributed: rank 0 cannot listen on port {port} (coordinator {coordinator}): "
            f"{error}; choose another port"
        ) from error


def _pack(directory: Path) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for pattern in _RESUMED_FROM:
            for path in directory.glob(pattern):
                archive.write(path, path.relative_to(directory))
    return packed.getvalue()


def _lost(processes: Processes, path: str | Path) -> str:
    return (
        f"rank {processes.rank} of {processes.count}: another process was lost (its output may "
        f"say why); {_resume_hint(path)}"
    )


def _resume_hint(path: str | Path) -> str:
    return f"continue with `thumbnet train --resume {quoted(path)}`, on one process or many"


def _is_failed_collective(error: Exception) -> bool:
    """Whether an error means that another process is gone; the wording depends on the library."""
    return type(error).__name__ in ("ValueError", "JaxRuntimeError", "XlaRuntimeError") and any(
        word in str(error) for word in ("Gloo", "NCCL", "coordination service")
    )
