"""Where this process stands among those it was started with, as its launcher says."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from thumbnet.errors import InputError

# SLURM gives no port: as JAX does, one of these by the number of the job, the same on all hosts.
_SLURM_PORTS = range(61_440, 65_536)
_HOW = "start the processes with srun or torchrun, or set the variables yourself: docs/scaling.md"


@dataclass(frozen=True)
class Launch:
    """What a launcher tells each of the processes that train together.

    Attributes:
        coordinator: `HOST:PORT` at which the others find rank 0.
        count: how many processes there are.
        rank: which of them this is, from 0.
        device: which of the host's accelerators this process is to use, where it sees those of
            its neighbours too; None for all that it sees.
    """

    coordinator: str
    count: int
    rank: int
    device: int | None = None


def read_launch(environ: Mapping[str, str]) -> Launch:
    """Read the variables of JAX, torchrun or SLURM, whichever are set, in that order.

    JAX's can be set by hand; in an indexed Job of Kubernetes the rank is its
    `JOB_COMPLETION_INDEX`.

    Raises:
        InputError: naming the variable that is missing or wrong.
    """
    if any(name.startswith("JAX_") and name in environ for name in _JAX):
        own = "JAX_PROCESS_ID" in environ or "JOB_COMPLETION_INDEX" not in environ
        rank = "JAX_PROCESS_ID" if own else "JOB_COMPLETION_INDEX"
        coordinator = _text(environ, "JAX_COORDINATOR_ADDRESS")
        return _launch(environ, coordinator, "JAX_NUM_PROCESSES", rank)
    if "JOB_COMPLETION_INDEX" in environ:
        raise InputError(
            "--distributed: JOB_COMPLETION_INDEX says the rank and nothing the rest; set "
            "JAX_COORDINATOR_ADDRESS and JAX_NUM_PROCESSES in the manifest, as "
            "deploy/train-kubernetes.yaml does"
        )
    if "RANK" in environ or "MASTER_ADDR" in environ:
        # Where torchrun listens on that port itself, the next one is taken.
        taken = environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        port = _number(environ, "MASTER_PORT") + taken
        coordinator = f"{_text(environ, 'MASTER_ADDR')}:{port}"
        # All processes of a host see all of its accelerators.
        shared = "LOCAL_RANK" in environ and environ.get("LOCAL_WORLD_SIZE") != "1"
        device = _number(environ, "LOCAL_RANK") if shared else None
        return _launch(environ, coordinator, "WORLD_SIZE", "RANK", device)
    if "SLURM_PROCID" in environ:
        port = _SLURM_PORTS[_number(environ, "SLURM_JOB_ID") % len(_SLURM_PORTS)]
        host = _first_host(_text(environ, "SLURM_STEP_NODELIST"))
        return _launch(environ, f"{host}:{port}", "SLURM_NTASKS", "SLURM_PROCID")
    raise InputError(f"--distributed: no launcher has said which process this is; {_HOW}")


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
            f"--distributed: {rank_name}={rank} must be below {count_name}={count}: ranks count "
            "from 0"
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
    """The first of the hosts in SLURM's notation, such as `node[001-004,007]-ib,login`."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,\[]*))?", nodes)
    host = "".join(part or "" for part in found.groups()) if found else ""
    if not host:
        raise InputError(f"--distributed: SLURM_STEP_NODELIST names no host: {nodes!r}")
    return host
