"""Several processes, on one machine or many, that train one model together.

The engine is JAX's distributed runtime under Keras's `DataParallel`: every process holds the whole
model and computes its rows of each batch, and the gradients are summed over all. Batch
normalisation, too, is over the whole batch. So the weights are those that one process would get,
but for the order in which sums are added up. The processes take the same steps and the same
decisions; the first of them, rank 0, writes the run directory.
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
from thumbnet.errors import InputError, LostProcessError, ThumbnetError
from thumbnet.installing import install_command
from thumbnet.parallel.launch import Launch
from thumbnet.parallel.supervision import LastWords, supervised
from thumbnet.runtime import backend, prepare_keras

# The slowest host may have to pull an image and start Python.
JOIN_SECONDS = 300
# How long a process may be silent before it counts as lost. One that dies with its host up is
# noticed at once, by its connections.
HEARTBEAT_SECONDS = 30
LEAVE_SECONDS = 60
# Where all end for the same reason the others have to say so before rank 0 is gone: JAX ends them
# with its coordinator, which is there.
GRACE_SECONDS = 3

# What resuming reads of a run directory.
_RESUMED_FROM = ("recipe.toml", "environment.json", "metrics.json", "checkpoints/step-*.npz")


@dataclass(frozen=True)
class Processes:
    """The processes that train together, as one of them sees them.

    Attributes:
        rank: which of them this is, from 0.
        count: how many there are.
        devices: how many processors or accelerators they have in all.
    """

    rank: int = 0
    count: int = 1
    devices: int = 1

    def require_even(self, images: int) -> None:
        """Refuse batches of a size that the devices cannot share evenly.

        Raises:
            InputError: naming the size.
        """
        if images % self.devices:
            raise InputError(
                f"batches of {images} images cannot be shared evenly among {self.devices} "
                f"devices; set batch_size to a multiple of {self.devices}"
            )

    def even(self, size: int) -> int:
        """The next size from `size` on that the devices can share evenly."""
        return -(-size // self.devices) * self.devices

    def share(self, start: int, stop: int) -> slice | Int64Array:
        """Which of the positions from `start` to `stop` are this process's.

        Where they do not divide evenly, all are gone through so often that they do, which no mean
        over them is changed by.
        """
        if self.devices == 1:
            return slice(start, stop)
        size = stop - start
        size *= self.devices // math.gcd(size, self.devices)
        own = np.arange(size * self.rank // self.count, size * (self.rank + 1) // self.count)
        return start + own % (stop - start)

    def gather(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """The values of all processes, stacked by rank; a float64 comes back as a float32."""
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
        """A number that is the same everywhere, in the form in which assigning it costs nothing.

        JAX asks all processes whether they agree before it takes a plain number.
        """
        if self.devices == 1:
            return value
        import jax

        keras = prepare_keras()
        layout = keras.distribution.TensorLayout([], keras.distribution.distribution().device_mesh)
        scalar = np.float32(value)
        return jax.make_array_from_callback((), layout.backend_layout, lambda index: scalar)

    def require_same(self, text: str, what: str) -> None:
        """Refuse processes that differ in what must be the same.

        Raises:
            InputError: naming a rank that differs from rank 0.
        """
        checksums = self.gather(np.uint32(zlib.crc32(text.encode())))
        if (others := np.flatnonzero(checksums != checksums[0])).size:
            self.leave()
            raise InputError(
                f"rank {others[0]} has {what} other than rank 0; start all processes with the "
                "same options, data and version of Thumbnet"
            )

    @contextmanager
    def mirrored(self, path: str | Path) -> Iterator[Path]:
        """Give every process a run directory: rank 0 the one that is kept.

        The others get one of their own for as long as the body takes, with what rank 0's holds to
        go on from, so that they need not see its disk.

        Raises:
            LostProcessError: a collective operation of the body failed.
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
                said = str(error).replace(str(directory), str(path))
                raise type(error)(f"rank {self.rank} of {self.count}: {said}") from error
            except Exception as error:
                if not _is_failed_collective(error):
                    raise
                raise LostProcessError(_lost(self, path)) from error

    def _broadcast(self, content: bytes) -> bytes:
        """The bytes that rank 0 gives."""
        from jax.experimental.multihost_utils import broadcast_one_to_all

        array = np.frombuffer(content, np.uint8)
        length = int(self.first(np.uint32(len(array))))
        sent = broadcast_one_to_all(array if self.rank == 0 else np.zeros(length, np.uint8))
        return np.asarray(sent).tobytes()

    def leave(self) -> None:
        """Part when the last step is taken; from here on each process is alone."""
        if self.devices == 1:
            return
        import jax

        jax.distributed.shutdown()
        prepare_keras().distribution.set_distribution(None)


SINGLE_PROCESS = Processes()


@contextmanager
def launched(launch: Launch, path: str | Path) -> Iterator[Processes]:
    """Join the processes that train the run at `path`, in a child that a parent watches over.

    To be entered early: see `supervised`.

    Raises:
        InputError: Keras does not compute with JAX, or the coordinator's port is in use.
    """
    if backend() != "jax":
        raise InputError(
            f"--distributed needs JAX, and Keras computes with {backend()}: set KERAS_BACKEND=jax, "
            f"and install JAX where it is missing: {install_command('jax')}"
        )
    with supervised(_way_on(path)) as say_if_ended:
        processes = join(launch, say_if_ended)
        say_if_ended(_lost(processes, path))
        yield processes


def join(launch: Launch, say_if_ended: LastWords = lambda sentence: None) -> Processes:
    """Wait until all processes have come together, and have Keras share its batches among them.

    To be called before anything is computed with JAX, which ends the process where the others do
    not come in time.

    Raises:
        InputError: the coordinator's port is in use.
    """
    import jax

    if launch.rank == 0:
        _require_free(launch.coordinator)
    say_if_ended(
        f"rank {launch.rank} of {launch.count}: not all processes came together at "
        f"{launch.coordinator} within {JOIN_SECONDS} s; start all of them, and see that each can "
        "reach that host and port"
    )
    # It would take SIGTERM for itself, which the training loop answers.
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
            f"--distributed: rank 0 cannot listen on port {port}, of the coordinator "
            f"{coordinator}: {error}; choose another port"
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
        f"rank {processes.rank} of {processes.count}: another process was lost, whose own output "
        f"may say why; {_way_on(path)}"
    )


def _way_on(path: str | Path) -> str:
    return f"go on with `thumbnet train --resume {path}`, on one process or many"


def _is_failed_collective(error: Exception) -> bool:
    """Whether an error tells that another process is gone; each library has words of its own."""
    return type(error).__name__ in ("ValueError", "JaxRuntimeError", "XlaRuntimeError") and any(
        word in str(error) for word in ("Gloo", "NCCL", "coordination service")
    )
