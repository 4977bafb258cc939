"""Starting and stopping the service, and clients that are slow or disconnect."""

import json
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from server_process import Serve

from thumbnet.cli.serving import named_run
from thumbnet.data.stored import UInt8Array
from thumbnet.runs.run import Run
from thumbnet.serving.model import bundled_run


def _start(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "thumbnet", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = _start("--port", str(taken.getsockname()[1]))
    assert found.returncode == 2
    assert "Address already in use; choose others with --host and --port" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing"], "missing is not a directory"),
        (["bad name=x"], "cannot be the name of a model"),
        (["--repository", "missing"], "missing is not a directory"),
        ([f"m={bundled_run().path}", "--engine", "abacus"], "no engine 'abacus'"),
    ],
)
def test_runs_that_cannot_be_served_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = _start(*arguments, "--port", "0")
    assert found.returncode == 2
    assert sentence in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.slow
def test_accepted_requests_are_answered_before_the_service_ends(
    serve: Serve, images: UInt8Array
) -> None:
    body = json.dumps({"instances": images[:20].tolist()}).encode()
    head = "POST /v1/models/cifar10:predict HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Length: {len(body)}"
    with serve() as server, ExitStack() as stack:
        port = int(server.address.rsplit(":")[-1])
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(8)
        ]
        for connection in connections:
            connection.sendall(head.encode() + b"\r\n\r\n" + body[:1000])
        server.client.get("/v2/health/live")  # answered after they have been accepted
        server.process.send_signal(signal.SIGTERM)
        _wait_for(lambda: _refuses_connections(port))
        for connection in connections:
            connection.sendall(body[1000:])
        for connection in connections:
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(30) == 0


@pytest.mark.slow
def test_a_disconnecting_client_is_logged_and_the_others_are_served(serve: Serve) -> None:
    with serve() as server:
        port = int(server.address.rsplit(":")[-1])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n--x"
            )
            time.sleep(0.2)
        _wait_for(lambda: any(line.get("status") == 499 for line in server.lines()))
        assert server.client.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.slow
def test_clients_that_reset_the_connection_leave_one_log_line_each(serve: Serve) -> None:
    with serve() as server:
        port = int(server.address.rsplit(":")[-1])
        for number in range(60):
            head = "GET /page/page.js HTTP/1.1\r\nHost: localhost\r\n"
            head += f"X-Request-ID: gone-{number}\r\n\r\n"
            with socket.create_connection(("127.0.0.1", port)) as connection:
                # Closing then resets the connection immediately.
                linger = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.sendall(head.encode() * 3)
                if number % 2:
                    connection.recv(10)
        server.client.get("/v2/health/live", headers={"X-Request-ID": "the-last"})
        server.line("the-last")
        lines = server.lines()
    assert not [line for line in lines if "traceback" in line or "message" in line]
    assert {line["status"] for line in lines} <= {200, 499}


@pytest.mark.slow
def test_a_log_that_is_not_read_blocks_no_request(two_runs: tuple[Run, Run]) -> None:
    command = [sys.executable, "-m", "thumbnet", "serve", str(two_runs[0].path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = re.search(r"http://\S+", process.stdout.readline())
    assert address is not None
    with httpx.Client(base_url=address[0], timeout=60) as client:
        # A pipe buffers 64 KiB, about 300 lines.
        for _ in range(1_000):
            assert client.get("/v2/health/live").status_code == 200
    process.terminate()
    assert process.wait(60) == 0
    process.communicate()


@pytest.mark.slow
def test_tensorflow_is_not_imported(serve: Serve) -> None:
    with serve() as server:
        maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "litert" in maps
    assert "libtensorflow" not in maps


def _refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_directory_may_have_an_equals_sign_in_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.01").mkdir()
    assert named_run("lr=0.01") == ("lr=0.01", Path("lr=0.01"))
    assert named_run("pets=lr=0.01") == ("pets", Path("lr=0.01"))
    assert named_run("runs/lr=0.1") == ("lr=0.1", Path("runs/lr=0.1"))
