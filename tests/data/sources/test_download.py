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
    """Set when the test is over, so that no server goes on."""
    event = threading.Event()
    yield event
    event.set()


def fetch(folder: Path, *behaviors: Behavior, patience: Patience = HURRY) -> list[str | None]:
    """Download from a server of these behaviours; the ranges that were asked for."""
    with serving(*behaviors) as server:
        path = folder / "file"
        download(remote(server.url), path, lambda done, total: None, patience)
        assert path.read_bytes() == DATA
        return server.ranges


@pytest.mark.parametrize("behavior", [send(DATA), send_chunked(DATA)])
def test_a_good_server_is_asked_once(behavior: Behavior, tmp_path: Path) -> None:
    assert fetch(tmp_path, behavior) == [None]


def test_progress_counts_up_to_the_whole(tmp_path: Path) -> None:
    counts = []
    with serving(send(DATA)) as server:
        download(remote(server.url), tmp_path / "file", lambda *count: counts.append(count), HURRY)
    assert counts[-1] == (len(DATA), len(DATA))
    assert counts == sorted(counts)


def test_a_download_that_breaks_off_is_resumed(tmp_path: Path) -> None:
    ranges = fetch(tmp_path, send(DATA, cut=1000), send_rest(DATA, cut=500), send_rest(DATA))
    assert ranges == [None, "bytes=1000-", "bytes=1500-"]


def test_a_server_that_cannot_resume_sends_all_again(tmp_path: Path) -> None:
    assert fetch(tmp_path, send(DATA, cut=1000), send(DATA)) == [None, "bytes=1000-"]


def test_an_answer_that_ends_early_is_no_file(tmp_path: Path) -> None:
    ranges = fetch(tmp_path, send_chunked(DATA[:1000]), send_rest(DATA))
    assert ranges == [None, "bytes=1000-"]


def test_a_server_in_trouble_is_asked_again(tmp_path: Path) -> None:
    assert fetch(tmp_path, send(b"", status=503), send(DATA)) == [None, None]


def test_attempts_come_to_an_end(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"the server answers 500 .*\(3 attempts\)"):
        fetch(tmp_path, send(b"", status=500))
    with pytest.raises(JobError, match=r"ended after \d+ of 300000 bytes|IncompleteRead"):
        fetch(tmp_path, send(DATA, cut=10))


@pytest.mark.parametrize(
    ("behaviors", "complaint"),
    [
        ([send(b"", status=404)], "the server answers 404"),
        ([send(DATA, announce=len(DATA) + 1)], "announces 300001 bytes, where 300000"),
        ([send(DATA[:99])], "announces 99 bytes, where 300000"),
        ([send(bytes(len(DATA)))], rf"expected SHA-256 {hashlib.sha256(DATA).hexdigest()}, found"),
        (
            [
                send(DATA, cut=7),
                send(DATA, status=206, headers=[("Content-Range", f"bytes 8-9/{len(DATA)}")]),
            ],
            r"go on from byte 7, the server sends 'bytes 8-9",
        ),
    ],
)
def test_what_cannot_be_right_is_refused_at_once(
    behaviors: list[Behavior], complaint: str, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match=complaint):
        fetch(tmp_path, *behaviors)


def test_no_more_than_the_published_size_is_taken(tmp_path: Path) -> None:
    assert fetch(tmp_path, send_chunked(DATA + b"more")) == [None]


def test_a_server_that_drips_is_left(tmp_path: Path, enough: threading.Event) -> None:
    impatient = Patience(rate=100_000, window=0.1, pause=0)
    with pytest.raises(JobError, match=r"too slow: \d+ kB/s, where 100 are the least"):
        fetch(tmp_path, drip(DATA, enough), patience=impatient)


def test_a_server_that_falls_silent_is_asked_again(tmp_path: Path, enough: threading.Event) -> None:
    impatient = Patience(silence=0.1, rate=0, pause=0)
    assert fetch(tmp_path, stall(DATA, 4000, enough), send_rest(DATA), patience=impatient) == [
        None,
        "bytes=4000-",
    ]


@pytest.mark.parametrize(
    ("patience", "complaint"),
    [
        (Patience(answer=0.1), r"no answer within 0\.1 s"),
        (Patience(silence=0.1), "timed out"),
    ],
)
def test_a_server_that_never_answers_is_left(
    patience: Patience, complaint: str, tmp_path: Path
) -> None:
    enough = threading.Event()
    with serving(say_nothing(enough)) as server:
        with pytest.raises(JobError, match=complaint):
            download(remote(server.url), tmp_path / "file", print, patience)
        enough.set()


def test_a_late_answer_is_put_away(tmp_path: Path) -> None:
    late = threading.Event()

    def dawdle(request: BaseHTTPRequestHandler) -> None:
        late.wait(5)
        send(DATA)(request)

    with serving(dawdle) as server:
        with pytest.raises(JobError, match="no answer"):
            download(remote(server.url), tmp_path / "file", print, Patience(answer=0.05))
        late.set()


def test_a_closed_port_is_no_reason_to_try_again(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(JobError, match="Connection refused"):
        download(remote(f"http://127.0.0.1:{port}/x"), tmp_path / "file", print, HURRY)


def test_a_network_that_drops_packets_is_left_soon(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        # Nobody accepts: once the queue is full, the kernel drops what knocks.
        crowd = [socket.socket() for _ in range(3)]
        for visitor in crowd:
            visitor.setblocking(False)
            visitor.connect_ex(address)
        try:
            with pytest.raises(JobError, match=r"timed out|no answer within"):
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
        (lambda *_: threading.Event().wait(0.5), r"no answer within 0\.1 s"),
    ],
)
def test_a_name_that_does_not_resolve(
    look_up: Callable[..., object],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(JobError, match=complaint):
        download(remote("http://nowhere.invalid/x"), tmp_path / "file", print, Patience(answer=0.1))
