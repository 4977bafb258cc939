"""The rank of this process and the address of rank 0, read from the launcher's variables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from thumbnet.errors import InputError

# SLURM assigns no port. As JAX does, derive one from the job ID, so that all hosts agree on it.
_SLURM_PORTS = range(61_440, 65_536)
_HOW = "start the processes with srun or torchrun, or set the variables yourself: docs/scaling.md"


@dataclass(frozen=True)
class Launch:
    """What a launcher passes to each process of a distributed training.

    Attributes:
        coordinator: `HOST:PORT` of rank 0.
        count: number of processes.
        rank: rank of this process, from 0.
        device: index of the accelerator to use, where all processes on a host see all of its
            accelerators; None to use every visible one.
    """

    coordinator: str
    count: int
    rank: int
    device: int | None = None


def read_launch(environ: Mapping[str, str]) -> Launch:
    """Read the variables of JAX, torchrun or SLURM; the first of these that is set wins.

    JAX's variables can be set by hand. In an indexed Kubernetes Job, `JOB_COMPLETION_INDEX` is
    the rank.

    Raises:
        InputError: a variable is missing or invalid; the message names it.
    """
    if any(name.startswith("JAX_") and name in environ for name in _JAX):
        indexed = "JAX_PROCESS_ID" not in environ and "JOB_COMPLETION_INDEX" in environ
        rank = "JOB_COMPLETION_INDEX" if indexed else "JAX_PROCESS_ID"
        coordinator = _text(environ, "JAX_COORDINATOR_ADDRESS")
        return _launch(environ, coordinator, "JAX_NUM_PROCESSES", rank)
    if "JOB_COMPLETION_INDEX" in environ:
        raise InputError(
            "--distributed: JOB_COMPLETION_INDEX is set but JAX_COORDINATOR_ADDRESS and "
            "JAX_NUM_PROCESSES are not; set them in the manifest, as in "
            "deploy/train-kubernetes.yaml"
        )
    if "RANK" in environ or "MASTER_ADDR" in environ:
        # If torchrun listens on that port itself, use the next one.
        taken = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        port = _number(environ, "MASTER_PORT") + taken
        coordinator = f"{_text(environ, 'MASTER_ADDR')}:{port}"
        # All processes on a host see all of its accelerators.
        shared = "LOCAL_RANK" in environ and environ.get("LOCAL_WORLD_SIZE") != "1"
        device = _number(environ, "LOCAL_RANK") if shared else None
        return _launch(environ, coordinator, "WORLD_SIZE", "RANK", device)
    if "SLURM_PROCID" in environ:
        port = _SLURM_PORTS[_number(environ, "SLURM_JOB_ID") % len(_SLURM_PORTS)]
        host = _first_host(_text(environ, "SLURM_STEP_NODELIST"))
        return _launch(environ, f"{host}:{port}", "SLURM_NTASKS", "SLURM_PROCID")
    raise InputError(f"--distributed: no launcher's variables are set; {_HOW}")


_JAX = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def _launch(
    environ: Mapping[str, str],
    coordinator: str,
    count_name: str,
    rank_name: str,
    device: int | None = None,
) -> Launch:
    if not re.fullmatch(r"(\[[\da-fA-F:.%\w]+\]|[^:\s]+):\d{1,5}", coordinator):
        raise InputError(f"--distributed: the coordinator must be HOST:PORT, got {coordinator!r}")
    count, rank = _number(environ, count_name), _number(environ, rank_name)
    if rank >= count:
        raise InputError(
            f"--distributed: {rank_name}={rank} must be below {count_name}={count}: ranks start "
            "at 0"
        )
    return Launch(coordinator, count, rank, device)


def _text(environ: Mapping[str, str], name: str) -> str:
    if not environ.get(name):
        raise InputError(f"--distributed: {name} is not set; {_HOW}")
    return environ[name]


def _number(environ: Mapping[str, str], name: str) -> int:
    text = _text(environ, name)
    if not text.isdecimal():
        raise InputError(f"--distributed: {name} must be a whole number, got {text!r}")
    return int(text)


def _first_host(nodes: str) -> str:
    """The first host of a list in SLURM's notation, such as `node[001-004,007]-ib,login`."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,\[]*))?", nodes)
    host = "".join(part or "" for part in found.groups()) if found else ""
    if not host:
        raise InputError(f"--distributed: SLURM_STEP_NODELIST names no host: {nodes!r}")
    return host
