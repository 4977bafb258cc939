"""Runs `thumbnet serve` in a separate process."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx


@dataclass
class Server:
    """A running service."""

    process: "subprocess.Popen[str]"
    address: str
    log: Path
    client: httpx.Client

    def stop(self) -> int:
        """Stop it, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def lines(self) -> list[dict[str, Any]]:
        """Its log; every line is JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def line(self, request_id: str) -> dict[str, Any]:
        """The log line of a request, which is written just after its response."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for line in self.lines():
                if line.get("request_id") == request_id:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"no log line for {request_id}")


Serve = Callable[..., Any]


@contextmanager
def served(log: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "thumbnet", "serve", *arguments, "--port", "0"]
    with open(log, "w") as file:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env={**os.environ, **environment},
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http://\S+", line)
    assert found, log.read_text()
    with httpx.Client(base_url=found[0], timeout=60) as client:
        try:
            yield Server(process, found[0], log, client)
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()
