import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from http_server import Behavior, drip, say_nothing, send, send_chunked, send_rest, serving, stall

from thumbnet.data.sources.download import RemoteFile, download
from thumbnet.data.sources.patience import Patience
from thumbnet.errors import JobError

DATA = np.random.default_rng(0).bytes(300_000)
HURRY = Patience(connect=0.5, answer=5, silence=5, rate=0, attempts=3, pause=0)


def remote(url: str) -> RemoteFile:
    return RemoteFile(url, len(DATA), hashlib.sha256(DATA).hexdigest())


@pytest.fixture
def enough() -> Iterator[threading.Event]:
    """Set at the end of the test, so that every server stops."""
    event = threading.Event()
    yield event
    event.set()


def fetch(folder: Path, *behaviors: Behavior, patience: Patience = HURRY) -> list[str | None]:
    """Download from a server with these behaviours, and return the requested ranges."""
    with serving(*behaviors) as server:
        path = folder / "file"
        download(remote(server.url), path, lambda done, total: None, patience)
        assert path.read_bytes() == DATA
        return server.ranges


@pytest.mark.parametrize("behavior", [send(DATA), send_chunked(DATA)])
def test_a_good_server_gets_one_request(behavior: Behavior, tmp_path: Path) -> None:
    assert fetch(tmp_path, behavior) == [None]


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    counts = []
    with serving(send(DATA)) as server:
        download(remote(server.url), tmp_path / "file", lambda *count: counts.append(count), HURRY)
    assert counts[-1] == (len(DATA), len(DATA))
    assert counts == sorted(counts)


def test_an_interrupted_download_is_resumed(tmp_path: Path) -> None:
    ranges = fetch(tmp_path, send(DATA, cut=1000), send_rest(DATA, cut=500), send_rest(DATA))
    assert ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_the_download_restarts_if_the_server_cannot_resume(tmp_path: Path) -> None:
    assert fetch(tmp_path, send(DATA, cut=1000), send(DATA)) == [None, "bytes=1000-"]


def test_a_short_response_is_resumed(tmp_path: Path) -> None:
    ranges = fetch(tmp_path, send_chunked(DATA[:1000]), send_rest(DATA))
    assert ranges == [None, "bytes=1000-"]


def test_a_server_error_is_retried(tmp_path: Path) -> None:
    assert fetch(tmp_path, send(b"", status=503), send(DATA)) == [None, None]


def test_the_number_of_attempts_is_limited(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"the server responded with 500 .*\(3 attempts\)"):
        fetch(tmp_path, send(b"", status=500))
    with pytest.raises(JobError, match=r"ended after \d+ of 300000 bytes|IncompleteRead"):
        fetch(tmp_path, send(DATA, cut=10))


@pytest.mark.parametrize(
    ("behaviors", "complaint"),
    [
        ([send(b"", status=404)], "the server responded with 404"),
        ([send(DATA, announce=len(DATA) + 1)], "announced 300001 bytes; expected 300000"),
        ([send(DATA[:99])], "announced 99 bytes; expected 300000"),
        ([send(bytes(len(DATA)))], rf"expected SHA-256 {hashlib.sha256(DATA).hexdigest()}, found"),
        (
            [
                send(DATA, cut=7),
                send(DATA, status=206, headers=[("Content-Range", f"bytes 8-9/{len(DATA)}")]),
            ],
            r"requested the bytes from 7, but the server sent 'bytes 8-9",
        ),
    ],
)
def test_wrong_responses_fail_immediately(
    behaviors: list[Behavior], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match=complaint):
        fetch(tmp_path, *behaviors)


def test_bytes_beyond_the_published_size_are_ignored(tmp_path: Path) -> None:
    assert fetch(tmp_path, send_chunked(DATA + b"more")) == [None]


def test_a_very_slow_server_is_abandoned(tmp_path: Path, enough: threading.Event) -> None:
    impatient = Patience(rate=100_000, window=0.1, pause=0)
    with pytest.raises(JobError, match=r"too slow: \d+ kB/s, below the minimum of 100"):
        fetch(tmp_path, drip(DATA, enough), patience=impatient)


def test_a_stalled_download_is_resumed(tmp_path: Path, enough: threading.Event) -> None:
    impatient = Patience(silence=0.1, rate=0, pause=0)
    assert fetch(tmp_path, stall(DATA, 4000, enough), send_rest(DATA), patience=impatient) == [
        None,
        "bytes=4000-",
    ]


@pytest.mark.parametrize(
    ("patience", "complaint"),
    [
        (Patience(answer=0.1), r"no response within 0\.1 s"),
        (Patience(silence=0.1), "timed out"),
    ],
)
def test_a_server_that_never_responds_is_abandoned(
    patience: Patience, complaint: str, tmp_path: Path
) -> None:
    enough = threading.Event()
    with serving(say_nothing(enough)) as server:
        with pytest.raises(JobError, match=complaint):
            download(remote(server.url), tmp_path / "file", print, patience)
        enough.set()


def test_a_late_response_is_closed(tmp_path: Path) -> None:
    late = threading.Event()

    def dawdle(request: BaseHTTPRequestHandler) -> None:
        late.wait(5)
        send(DATA)(request)

    with serving(dawdle) as server:
        with pytest.raises(JobError, match="no response"):
            download(remote(server.url), tmp_path / "file", print, Patience(answer=0.05))
        late.set()


def test_a_refused_connection_is_not_retried(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(JobError, match="Connection refused"):
        download(remote(f"http://127.0.0.1:{port}/x"), tmp_path / "file", print, HURRY)


def test_a_network_that_drops_packets_times_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        # Connections are never accepted: once the queue is full, the kernel drops packets.
        crowd = [socket.socket() for _ in range(3)]
        for visitor in crowd:
            visitor.setblocking(False)
            visitor.connect_ex(address)
        try:
            with pytest.raises(JobError, match=r"timed out|no response within"):
                download(
                    remote(f"http://127.0.0.1:{address[1]}/x"),
                    tmp_path / "file",
                    print,
                    Patience(connect=0.2, answer=1),
                )
        finally:
            for visitor in crowd:
                visitor.close()


@pytest.mark.parametrize(
    ("look_up", "complaint"),
    [
        (
            lambda *_: (_ for _ in ()).throw(socket.gaierror(-2, "Name unknown")),
            "Failed to resolve",
        ),
        (lambda *_: threading.Event().wait(0.5), r"no response within 0\.1 s"),
    ],
)
def test_an_unresolvable_host_name(
    look_up: Callable[..., object],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(JobError, match=complaint):
        download(remote("http://nowhere.invalid/x"), tmp_path / "file", print, Patience(answer=0.1))
