"""Memory of the service under requests that are made to take much of it.

    .venv/bin/python benchmarks/serving_memory.py --seconds 10
    .venv/bin/python benchmarks/serving_memory.py --cgroup /sys/fs/cgroup/memory/thumbnet

Sixteen requests of a kind are kept in progress, then 24 of all kinds. The peak is that of the
resident memory of the service and of its child processes, read every 20 ms. With `--cgroup`, a
directory that exists and has a memory limit, the service runs in it, and must not be killed.
"""

import argparse
import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from harness import document, markdown_table
from PIL import Image

from thumbnet.atomic import write_text

SIDE, MEBIBYTE = 4_000, 2**20
Send = Callable[[httpx.AsyncClient], Coroutine[Any, Any, httpx.Response]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="duration of each measurement")
    parser.add_argument("--cgroup", type=Path, help="directory of a control group to run it in")
    parser.add_argument("--out", type=Path, help="results page to write")
    arguments = parser.parse_args()
    attacks = make_attacks()
    rows = []
    for title, kinds, count in (
        *((name, [send], 16) for name, send in attacks.items()),
        ("all of these together", list(attacks.values()), 24),
    ):
        with served(arguments.cgroup) as (process, address):
            own, children, statuses = asyncio.run(
                attack(process, address, kinds, count, arguments.seconds)
            )
            survived = "yes" if process.poll() is None else "no"
        counts = ", ".join(f"{number:,} × {status}" for status, number in sorted(statuses.items()))
        rows.append([title, f"{own} MiB", f"{children} MiB", survived, counts])
        print(" | ".join(rows[-1]), flush=True)
    if arguments.out:
        head = ["requests", "service", "its child processes", "survived", "answers"]
        page = document("Memory of the service", markdown_table(head, rows))
        write_text(arguments.out, page)


def make_attacks() -> dict[str, Send]:
    """Requests by what they hold."""
    deep = np.arange(SIDE * SIDE, dtype=np.uint32).astype(np.uint16).reshape(SIDE, SIDE)
    one = json.dumps(np.zeros((32, 32, 3), int).tolist()).encode()
    empty = b'{"instances":[' + b"{}," * (5 * MEBIBYTE) + b"{}]}"
    instances = b'{"instances":[' + b",".join([one] * 1_024) + b"]}"
    predict, infer = "/v1/models/cifar10:predict", "/v2/models/cifar10/infer"

    async def slow_body() -> AsyncIterator[bytes]:
        for _ in range(16):
            yield bytes(MEBIBYTE)
            await asyncio.sleep(0.2)

    return {
        "16-bit PNG": form(saved(Image.fromarray(deep), "PNG")),
        "PNG with transparency": form(saved(Image.new("RGBA", (SIDE, SIDE)), "PNG")),
        "WebP with transparency": form(saved(Image.new("RGBA", (SIDE, SIDE)), "WEBP")),
        "JSON of empty instances, 15 MiB": lambda client: client.post(predict, content=empty),
        "JSON of 1,024 images": lambda client: client.post(predict, content=instances),
        "bodies of 16 MiB that arrive slowly": lambda client: client.post(
            infer, content=slow_body()
        ),
    }


def saved(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, lossless=True)
    return file.getvalue()


def form(content: bytes) -> Send:
    """A form of four images."""
    files = [("files", (f"{number}", content)) for number in range(4)]
    return lambda client: client.post("/classify", files=files)


async def attack(
    process: "subprocess.Popen[str]", address: str, kinds: list[Send], count: int, seconds: float
) -> tuple[int, int, Counter[str]]:
    """Keep requests in progress; the peaks in MiB, and how often each answer was given."""
    peaks, statuses, end = Peaks(process.pid), Counter[str](), time.monotonic() + seconds
    numbers = iter(range(sys.maxsize))

    async def client_loop(client: httpx.AsyncClient) -> None:
        while time.monotonic() < end and process.poll() is None:
            try:
                answer = await kinds[next(numbers) % len(kinds)](client)
                statuses[str(answer.status_code)] += 1
            except httpx.HTTPError:  # a refused body whose rest is not read
                statuses["closed"] += 1

    with peaks:
        async with httpx.AsyncClient(base_url=address, timeout=120) as client:
            await asyncio.gather(*(client_loop(client) for _ in range(count)))
    return peaks.own // MEBIBYTE, peaks.children // MEBIBYTE, statuses


class Peaks:
    """The highest resident memory of a process, and of its child processes together, in bytes."""

    def __init__(self, process_id: int) -> None:
        self.own = self.children = 0
        self._process_id, self._ended = process_id, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            with suppress(OSError, IndexError):  # the process has ended
                self.own = max(self.own, resident(self._process_id))
                found = Path(f"/proc/{self._process_id}/task").glob("*/children")
                children = [int(child) for path in found for child in path.read_text().split()]
                self.children = max(self.children, sum(map(resident, children)))


def resident(process_id: int) -> int:
    pages = Path(f"/proc/{process_id}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def served(cgroup: Path | None) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A service of the bundled model, and its address."""

    def enter() -> None:
        if cgroup is not None:
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, "-m", "thumbnet", "serve", "--port", "0"]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=enter
        ) as process,
    ):
        assert process.stdout is not None
        yield process, process.stdout.readline().split(" at ")[1].split()[0]
        process.terminate()


if __name__ == "__main__":
    main()
