"""Load test of the service: throughput compared with the engine alone, latency, and overload.

    .venv/bin/python benchmarks/serving.py --out benchmarks/results/serving.md
    .venv/bin/python benchmarks/serving.py --seconds 5 --overload-seconds 10

Needs `wrk` (a Debian package). Service, load generator and engine run on the same machine.

- Saturation: 16 connections send binary tensors of 32 images as fast as they are answered. The rate
  of the engine alone, with the service's batch size, is measured before and after in a separate
  process.
- Half load: requests with the pixels of one image arrive at half the rate at which such requests
  saturate the service. Latency is measured by a Python client with 8 connections.
- Overload: clients keep twice as many images waiting as the queue can hold. Every request must be
  answered, with 200 or with 503 and `Retry-After`. The memory of the service is read every second.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import document, markdown_table

from thumbnet import load_cifar10
from thumbnet.atomic import write_text
from thumbnet.serving.model import bundled_run
from thumbnet.serving.settings import Settings

ENGINE = """
import sys, time
import numpy as np
from thumbnet.engines import open_engine
from thumbnet.runs.run import Run
from thumbnet.data.sources.locate import load_cifar10
engine = open_engine(Run.open(sys.argv[1]))
images = np.asarray(load_cifar10(source="sample").test.images[:int(sys.argv[2])])
engine.predict(images)
rates = []
end = time.perf_counter() + float(sys.argv[3])
while time.perf_counter() < end:
    started = time.perf_counter()
    engine.predict(images)
    rates.append(len(images) / (time.perf_counter() - started))
print(sorted(rates)[len(rates) // 2])
"""
BATCH, CONNECTIONS = 32, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", type=Path, default=bundled_run().path)
    parser.add_argument("--seconds", type=float, default=30, help="duration of each measurement")
    parser.add_argument("--overload-seconds", type=float, default=600)
    parser.add_argument("--out", type=Path, help="results page to write")
    arguments = parser.parse_args()
    images = np.asarray(load_cifar10(source="sample").test.images)
    rows: list[tuple[str, str]] = []

    def note(title: str, text: str) -> None:
        rows.append((title, text))
        print(f"{title}: {text}", flush=True)

    own = [engine_rate(arguments.run, arguments.seconds / 3)]
    with served(arguments.run) as (process, port):
        batches = saturate(port, infer_request(images[:BATCH]), arguments.seconds)
        singles = saturate(port, infer_request(images[:1]), arguments.seconds)
        latencies = half_load(port, images, singles / 2, arguments.seconds)
        overload = Overload(process.pid, port, images[:128])
        overload.run(arguments.overload_seconds)
        again = saturate(port, infer_request(images[:BATCH]), arguments.seconds)
    own.append(engine_rate(arguments.run, arguments.seconds / 3))
    rate = statistics.mean(own)
    note("engine alone, batches of 128", f"{own[0]:,.0f} images/s before, {own[1]:,.0f} after")
    note("service, binary tensors of 32", f"{batches * BATCH:,.0f} images/s")
    note("relative to the engine alone", f"{batches * BATCH / rate:.0%}")
    note("service, binary tensors of 1", f"{singles:,.0f} requests/s")
    p50, p99 = np.percentile(latencies, [50, 99])
    note("latency at half of that rate", f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms")
    note("overload", overload.summary())
    note("service after the overload", f"{again * BATCH:,.0f} images/s")
    if arguments.out:
        table = markdown_table(["measurement", "result"], rows)
        write_text(arguments.out, document("The service under load", table))


def engine_rate(run: Path, seconds: float) -> float:
    """Images per second of the engine alone, the median over batches."""
    size = str(Settings().batch_images)
    command = [sys.executable, "-c", ENGINE, str(run), size, str(seconds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


class served:  # noqa: N801
    """Context manager that runs the service in a separate process; gives the process and port."""

    def __init__(self, run: Path) -> None:
        command = [sys.executable, "-m", "thumbnet", "serve", str(run), "--port", "0"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def __enter__(self) -> tuple["subprocess.Popen[str]", int]:
        assert self._process.stdout is not None
        found = re.search(r"http://[\d.]+:(\d+)", self._process.stdout.readline())
        if found is None:
            raise SystemExit("the service did not start")
        return self._process, int(found[1])

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        if self._process.wait(60):
            raise SystemExit(f"the service ended with {self._process.returncode}")


def infer_request(images: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a V2 request with binary input and output tensors."""
    tensor = {
        "name": "images",
        "shape": list(images.shape),
        "datatype": "UINT8",
        "parameters": {"binary_data_size": images.size},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + images.tobytes(), {"Inference-Header-Content-Length": str(len(head))}


def saturate(port: int, request: tuple[bytes, dict[str, str]], seconds: float) -> float:
    """Requests per second that are answered with 200, measured by `wrk`."""
    body, headers = request
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "body").write_bytes(body)
        script = Path(directory) / "load.lua"
        lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
        script.write_text(
            'wrk.method = "POST"\n'
            f'wrk.body = io.open("{directory}/body", "rb"):read("*a")\n' + "\n".join(lines)
        )
        address = f"http://127.0.0.1:{port}{path_of_model(port)}"
        command = ["wrk", "--threads", "1", "--connections", str(CONNECTIONS)]
        command += ["--duration", f"{seconds:.0f}s", "--timeout", "30s", "--script", str(script)]
        found = subprocess.run([*command, address], capture_output=True, text=True, check=True)
    if "Non-2xx" in found.stdout or "Socket errors" in found.stdout:
        raise SystemExit(found.stdout)
    rate = re.search(r"Requests/sec:\s*([\d.]+)", found.stdout)
    assert rate is not None, found.stdout
    return float(rate[1])


def path_of_model(port: int) -> str:
    """The inference path of the first model."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/models")
    name = json.load(connection.getresponse())["models"][0]["name"]
    connection.close()
    return f"/v2/models/{name}/infer"


def half_load(port: int, images: Any, rate: float, seconds: float) -> list[float]:
    """Latencies at `rate` requests per second: seconds from the due time to the response."""
    path, latencies, due = path_of_model(port), [], iter(range(10**9))
    started, lock = time.perf_counter(), threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            with lock:
                number = next(due)
            at = started + number / rate
            if at > started + seconds:
                return
            time.sleep(max(0.0, at - time.perf_counter()))
            body, headers = infer_request(images[number % len(images)][None])
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            latencies.append(time.perf_counter() - at)

    _all_at_once([work] * 8)
    return latencies


class Overload:
    """Sends more requests than the service can handle, and counts the answers."""

    def __init__(self, process_id: int, port: int, images: Any) -> None:
        self._process_id, self._port, self._images = process_id, port, images
        self._answers: Counter[str] = Counter()
        self._resident: list[int] = []
        self._seconds = 0.0

    def run(self, seconds: float) -> None:
        """Run for this long."""
        self._seconds = seconds
        clients = 2 * Settings().queue_images // len(self._images)
        end = time.monotonic() + seconds
        path = path_of_model(self._port)
        _all_at_once([*[lambda: self._ask(path, end)] * clients, lambda: self._watch(end)])

    def summary(self) -> str:
        """Counts of the answers, and memory early and late in the run."""
        tenth = max(1, len(self._resident) // 10)
        first, last = (
            statistics.median(part) / 2**20
            for part in (
                self._resident[tenth : 2 * tenth] or self._resident,
                self._resident[-tenth:],
            )
        )
        answers = ", ".join(f"{count:,} × {kind}" for kind, count in sorted(self._answers.items()))
        return (
            f"{self._seconds:.0f} s: {answers}; resident memory {first:.0f} MiB after a tenth of "
            f"the time, {last:.0f} MiB at the end"
        )

    def _ask(self, path: str, end: float) -> None:
        body, headers = infer_request(self._images)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while time.monotonic() < end:
            try:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._answers[f"lost ({type(error).__name__})"] += 1
                connection.close()
                continue
            waits = answer.headers.get("Retry-After")
            self._answers[f"{answer.status}{' with Retry-After' if waits else ''}"] += 1
            if waits:
                time.sleep(0.05)  # a client that ignores Retry-After

    def _watch(self, end: float) -> None:
        pages = Path(f"/proc/{self._process_id}/statm")
        while time.monotonic() < end:
            self._resident.append(int(pages.read_text().split()[1]) * os.sysconf("SC_PAGESIZE"))
            time.sleep(1)


def _all_at_once(jobs: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
