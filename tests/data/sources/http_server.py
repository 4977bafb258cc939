"""A server on 127.0.0.1 whose behaviour is set by each test."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behavior = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """Its URL, and the `Range` header of each request so far."""

    url: str
    ranges: list[str | None] = field(default_factory=list)


@contextmanager
def serving(*behaviors: Behavior) -> Iterator[Server]:
    """Respond to each request with the next behaviour; the last one is repeated."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.ranges.append(self.headers.get("Range"))
            behavior = behaviors[min(len(server.ranges), len(behaviors)) - 1]
            # A client that gave up closes the connection.
            try:
                behavior(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        server = Server(f"http://127.0.0.1:{listener.server_port}/cifar-10-binary.tar.gz")
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()


def send(
    data: bytes,
    *,
    status: int = 200,
    announce: int | None = None,
    cut: int | None = None,
    headers: Sequence[tuple[str, str]] = (),
) -> Behavior:
    """Send all data or only `cut` bytes; `announce` sets a wrong Content-Length."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(data) if announce is None else announce))
        for name, value in headers:
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(data[:cut])

    return behave


def send_rest(data: bytes, *, cut: int | None = None) -> Behavior:
    """Send the bytes requested by the `Range` header, like a correct server."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        begin = int((request.headers["Range"] or "bytes=0-")[len("bytes=") : -1])
        content_range = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        send(data[begin:], status=206, cut=cut, headers=[("Content-Range", content_range)])(request)

    return behave


def send_chunked(data: bytes) -> Behavior:
    """Send without a Content-Length."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.send_header("Connection", "close")
        request.end_headers()
        for begin in range(0, len(data), 1000):
            piece = data[begin : begin + 1000]
            request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        request.wfile.write(b"0\r\n\r\n")

    return behave


def drip(data: bytes, enough: threading.Event, seconds: float = 0.02) -> Behavior:
    """Send single bytes slowly until `enough` is set."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        send(data, cut=0)(request)
        for byte in data:
            request.wfile.write(bytes([byte]))
            if enough.wait(seconds):
                return

    return behave


def stall(data: bytes, after: int, enough: threading.Event) -> Behavior:
    """Send `after` bytes, then stall until `enough` is set."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        send(data, cut=after)(request)
        request.wfile.flush()
        enough.wait(30)

    return behave


def say_nothing(enough: threading.Event) -> Behavior:
    """Do not respond until `enough` is set."""

    def behave(request: BaseHTTPRequestHandler) -> None:
        enough.wait(30)

    return behave
