"""HTTP/1.1 with limits on everything around a request's body and on clients that do not read."""

import asyncio
import json
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from thumbnet.serving.settings import Settings

# A refused client may still be sending. Closing at once would reset the connection before the
# client has read the reason, so its data is discarded for a moment.
_LINGER_BYTES, _LINGER_SECONDS = 2**20, 1.0
# The parser is fed in pieces, so that the limits are checked between them.
_PIECE_BYTES = 8_192
_PROBE_SECONDS = 0.5


class BoundedProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol with limits.

    The bytes of a message outside its body (headers, chunk sizes, chunk extensions, trailers) count
    as `outside`. Each byte of the body offsets one of them, so ordinary chunks cost nothing, and a
    message cannot go on without sending body.
    """

    settings = Settings()
    _outside = 0
    _body_of_piece = 0
    _between = False  # one message is complete, and the next has not begun
    _ignored: int | None = None  # bytes received after a refusal
    _head_timer: asyncio.TimerHandle | None = None
    _stalled_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock."""
        super().connection_made(transport)
        if len(self.connections) > self.settings.connections:
            transport.abort()
        else:
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        self._cancel_head_timer()
        self._stop_stalled_timer()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Still answer a complete request: the client may have closed only its sending half.

        A client that has disconnected looks the same until something is written to it. So the
        interim response 100, which clients skip, is written until the response begins.
        """
        if not self._is_answering() or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        self._probe()
        return True

    def data_received(self, data: bytes) -> None:
        """Parse a piece at a time, and count the bytes outside the body."""
        rest = memoryview(data)
        while rest and self._ignored is None and not self.transport.is_closing():
            in_head = self._head_timer is not None or self._between
            room = self.settings.header_bytes - self._outside
            size = min(_PIECE_BYTES, max(1, room)) if in_head else _PIECE_BYTES
            piece, rest = rest[:size], rest[size:]
            self._body_of_piece = 0
            super().data_received(piece)  # type: ignore[arg-type]
            self._outside = max(0, self._outside + len(piece) - 2 * self._body_of_piece)
            if self._between:
                self._outside = 0
            if self._outside >= self.settings.header_bytes:
                self._refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"the request has more than {self.settings.header_bytes:,} bytes of headers, "
                    "trailers or chunk extensions",
                )
        if self._ignored is not None:
            self._ignored += len(rest)
            if self._ignored > _LINGER_BYTES:
                self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Refuse invalid HTTP in the same form as every other refusal."""
        self._refuse(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP/1.1")

    def on_message_begin(self) -> None:
        """Start the clock for the next request of the connection."""
        super().on_message_begin()
        self._outside, self._between = 0, False
        self._start_head_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers, which come after the body, are ignored."""
        if self._head_timer is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._cancel_head_timer()
        super().on_headers_complete()
        cycle = self.cycle

        def is_closed() -> bool:
            """Whether the client has disconnected; Uvicorn notices a little later."""
            cycle.disconnected = cycle.disconnected or self.transport.is_closing()
            return cycle.disconnected

        cycle.scope["state"]["is_closed"] = is_closed

    def on_body(self, body: bytes) -> None:
        """Count a piece of the body."""
        self._body_of_piece += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Reset the count for the next message."""
        self._between = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Give a client that does not read its response a limited time."""
        super().pause_writing()
        self._stalled_timer = self.loop.call_later(
            self.settings.stalled_seconds, self.transport.abort
        )

    def resume_writing(self) -> None:
        """Stop the clock, because the client is reading again."""
        self._stop_stalled_timer()
        super().resume_writing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _probe(self) -> None:
        if self.transport.is_closing() or self.pipeline or self.cycle.response_started:
            return
        if self.cycle.scope["http_version"] == "1.1":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.loop.call_later(_PROBE_SECONDS, self._probe)

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(
                self.settings.header_seconds, self._head_timed_out
            )

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
        self._head_timer = None

    def _stop_stalled_timer(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
        self._stalled_timer = None

    def _head_timed_out(self) -> None:
        if self._outside:
            self._refuse(
                HTTPStatus.REQUEST_TIMEOUT,
                f"the head of the request did not arrive within {self.settings.header_seconds:g} s",
            )
        elif not self.transport.is_closing():
            self.transport.close()  # there is no request to answer

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Respond with an error and close, once earlier requests are answered."""
        self._cancel_head_timer()
        if self.transport.is_closing() or self._ignored is not None:
            return
        self._ignored = 0
        if self._is_answering():
            if not self.cycle.more_body:
                self.cycle.keep_alive = False  # the cycle closes the connection after its response
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started or self.pipeline:
                self.transport.close()  # an error cannot follow half a response
                return
        content = json.dumps({"error": sentence}).encode()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b"
            % (status, status.phrase.encode(), len(content), content)
        )
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)


def protocol_with(settings: Settings) -> type[BoundedProtocol]:
    """The protocol class with the limits of a service, for Uvicorn."""
    return type("Protocol", (BoundedProtocol,), {"settings": settings})
