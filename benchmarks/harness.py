"""Shared by the benchmarks: separate processes, provenance of results, timing, tables."""

import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.machine import describe_host

if TYPE_CHECKING:
    from matplotlib.axis import Axis

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
PEERS = HERE / "peers"
# Where benchmarks/README.md installs PyTorch, which is used for comparison only.
TORCH = HERE / ".torch"

# Variables that `import thumbnet` sets. Other programs run without them, as in a user's shell.
_SET_BY_THUMBNET = ("TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL")


def provenance() -> list[str]:
    """Lines that state the command, machine, versions, commit and date of a result."""
    here = describe_host()
    command = [".venv/bin/python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]
    versions = here.versions | _torch_version()
    return [
        f"Command: {shlex.join(command)}",
        f"Machine: {here.processor}, {here.threads} threads; {here.platform}",
        f"Python {here.python}; " + ", ".join(f"{name} {versions[name]}" for name in versions),
        f"Commit {here.git_revision}; {datetime.now(UTC):%Y-%m-%d}",
    ]


def _torch_version() -> dict[str, str]:
    found = distributions(name="torch", path=[str(TORCH)])
    return {distribution.name: distribution.version for distribution in found}


def run_script(
    script: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Run a script in a separate process and read its output: one JSON object per line.

    Args:
        script: the path of a Python file.
        arguments: command-line arguments.
        environment: variables to set in addition to those of the user's shell.

    Raises:
        subprocess.CalledProcessError: it failed; its standard error has been shown.
    """
    inherited = {name: text for name, text in os.environ.items() if name not in _SET_BY_THUMBNET}
    command = [sys.executable, str(script), *arguments]
    rows = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=inherited | dict(environment or {})
    ) as process:
        for line in process.stdout or ():
            print(f"  {line.rstrip()}", file=sys.stderr, flush=True)
            rows.append(json.loads(line))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return rows


def with_torch() -> dict[str, str]:
    """The environment in which a script finds PyTorch.

    Raises:
        SystemExit: PyTorch is not installed there.
    """
    if not (TORCH / "torch").is_dir():
        raise SystemExit(
            "PyTorch is not installed in benchmarks/.torch; benchmarks/README.md has the command "
            "that installs it"
        )
    return {"PYTHONPATH": os.pathsep.join(filter(None, [os.getenv("PYTHONPATH"), str(TORCH)]))}


def median_seconds(work: Callable[[], object], times: int, warm_up: int = 2) -> float:
    """The median time of `times` calls, after `warm_up` calls that compile and allocate."""
    for _ in range(warm_up):
        work()
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def mean_and_std(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation; a single value is shown alone."""
    mean = f"{statistics.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that ends with a line break."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def label_plainly(axis: "Axis") -> None:
    """Label a logarithmic axis with plain numbers: 1, 2 and 5 of each power of ten.

    Matplotlib's default labels are formulas, which the style of our figures shows as plain text.
    """
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())


def document(title: str, *parts: str) -> str:
    """A results page: title, provenance and the given parts."""
    command, *origin = provenance()
    head = f"```console\n{command.removeprefix('Command: ')}\n```\n\n" + "  \n".join(origin)
    return "\n\n".join([f"# {title}", head, *(part.strip() for part in parts)]) + "\n"
