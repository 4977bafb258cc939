"""Limits on a connection: bounded memory and a bounded duration, whatever is sent over it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from thumbnet.serving.gate import Gate
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.protocol import BoundedProtocol, protocol_with
from thumbnet.serving.settings import Settings

_Result = TypeVar("_Result")
POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
KIBIBYTE, MEBIBYTE = 2**10, 2**20
DEFAULTS = Settings()


async def _length(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads a body and answers with its length."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that never reads the body."""
    await PlainTextResponse("no such address", 404)(scope, receive, send)


class Client:
    """A connection to the service."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.sent = 0

    async def send(self, *parts: bytes) -> None:
        """Send, unless the service hangs up."""
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            self.sent += len(part)

    async def answer(self) -> bytes:
        """Everything received until the service closes the connection; empty after a reset."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""


def _talk(
    talk: Callable[[Client], Awaitable[_Result]],
    app: ASGIApp = _length,
    settings: Settings = DEFAULTS,
    protocols: list[BoundedProtocol] | None = None,
) -> _Result:
    """Let a client talk to an application behind the service's protocol and gate."""

    async def main() -> _Result:
        config = uvicorn.Config(
            Gate(app, Metrics(), settings), lifespan="off", log_config=None, ws="none"
        )
        config.load()
        state = uvicorn.Server(config).server_state

        def connected() -> BoundedProtocol:
            protocol = protocol_with(settings)(config, state, {})
            if protocols is not None:
                protocols.append(protocol)
            return protocol

        listener = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0)
        async with listener:
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
            try:
                return await talk(Client(reader, writer))
            finally:
                writer.close()

    return asyncio.run(main())


def _endless(client: Client, part: bytes, most: int = 64 * MEBIBYTE) -> Awaitable[None]:
    """Send a part repeatedly until the service hangs up or has accepted `most` bytes."""
    return client.send(*[part] * (most // len(part)))


@pytest.mark.parametrize("app", [_length, _refuse])
@pytest.mark.parametrize(
    ("start", "part"),
    [
        (POST + b"0\r\n", b"X-More: " + b"y" * 4_000 + b"\r\n"),
        (POST + b"0\r\nX-More: ", b"y" * 4_000),
        (POST + b"5;", b"x" * 4_000),
        (POST, b"1\r\nx\r\n" * 800),
        (POST + b"0" * 4_000, b"0" * 4_000),
    ],
    ids=["trailers", "one trailer", "a chunk extension", "tiny chunks", "zeros"],
)
def test_bytes_outside_the_body_are_limited(app: ASGIApp, start: bytes, part: bytes) -> None:
    async def talk(client: Client) -> bytes:
        try:
            await client.send(start)
            await _endless(client, part)
        except ConnectionError:
            pass
        assert client.sent < 16 * MEBIBYTE
        return await client.answer()

    kept: list[BoundedProtocol] = []
    answer = _talk(talk, app, protocols=kept)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 404 "))
    assert sum(len(name) + len(value) for name, value in kept[0].headers) < KIBIBYTE


def test_ordinary_chunks_and_a_short_trailer_are_accepted() -> None:
    async def talk(client: Client) -> bytes:
        await client.send(POST, *[b"a;x=1\r\n0123456789\r\n"] * 20_000, b"0\r\nX-Sum: 1\r\n\r\n")
        return await client.reader.readuntil(b"200000")

    assert _talk(talk).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("more", [0, 1])
def test_the_header_limit_is_exact_however_the_headers_arrive(more: int) -> None:
    start, end = b"GET / HTTP/1.1\r\nConnection: close\r\nX-More: ", b"\r\n\r\n"
    head = start + b"y" * (DEFAULTS.header_bytes - len(start) - len(end) + more) + end

    async def talk(client: Client) -> bytes:
        await client.send(head + b"z" * 30_000)
        return await client.answer()

    assert _talk(talk).startswith(b"HTTP/1.1 431 " if more else b"HTTP/1.1 200 ")


def test_the_header_limit_applies_to_later_requests_of_a_connection() -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\n"

    async def talk(client: Client) -> bytes:
        for _ in range(3):
            await client.send(head + b"X-More: " + b"y" * 800 + b"\r\n\r\n")
            assert (await client.reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200 ")
        await client.send(head + b"X-More: " + b"y" * 1_000 + b"\r\n\r\n")
        return await client.answer()

    assert _talk(talk, settings=Settings(header_bytes=KIBIBYTE)).startswith(b"HTTP/1.1 431 ")


def test_a_large_unread_body_ends_the_connection() -> None:
    settings = Settings(body_bytes=MEBIBYTE)

    async def talk(client: Client) -> bytes:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000\r\n\r\n")
        with pytest.raises(ConnectionError):
            await _endless(client, b"0" * 64 * KIBIBYTE)
        return await client.answer()

    answer = _talk(talk, _refuse, settings)
    assert answer == b"" or b"connection: close" in answer


def test_a_response_before_a_short_body_keeps_the_connection_open() -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"

    async def talk(client: Client) -> list[bytes]:
        answers = []
        for _ in range(2):
            await client.send(request, b"0" * 100_000)
            answers.append(await client.reader.readuntil(b"no such address"))
        return answers

    for answer in _talk(talk, _refuse):
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"connection: close" not in answer


def test_a_client_that_expects_100_continue_is_answered_at_once() -> None:
    async def talk(client: Client) -> bytes:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"
        )
        return await client.answer()

    answer = _talk(talk, _refuse)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"connection: close" in answer


def test_more_connections_than_allowed_are_closed_at_once() -> None:
    async def talk(client: Client) -> bytes:
        return await client.answer()

    assert _talk(talk, settings=Settings(connections=0)) == b""


def test_a_client_that_does_not_read_its_response_is_disconnected() -> None:
    disconnected: list[bool] = []

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not disconnected:
            await send({"type": "http.response.body", "body": b"0" * MEBIBYTE, "more_body": True})
            disconnected.extend(protocol.transport.is_closing() for protocol in kept[:1])
            disconnected[:] = [each for each in disconnected if each]

    async def talk(client: Client) -> None:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not disconnected:
            await asyncio.sleep(0.01)

    kept: list[BoundedProtocol] = []
    _talk(talk, endless, Settings(stalled_seconds=0.1), kept)


@pytest.mark.parametrize("rest", [b"\r\n", b"no request\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_a_request_before_garbage_is_answered(rest: bytes) -> None:
    async def talk(client: Client) -> bytes:
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" + rest)
        client.writer.write_eof()
        return await client.answer()

    answer = _talk(talk)
    assert answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"\r\n\r\n3")


def test_a_client_that_closed_its_sending_half_gets_its_response() -> None:
    left = asyncio.Event()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await left.wait()
        await PlainTextResponse("late")(scope, receive, send)

    async def talk(client: Client) -> bytes:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.writer.write_eof()
        interim = await client.reader.readuntil(b"\r\n\r\n")
        left.set()
        return interim + await client.answer()

    answer = _talk(talk, late)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nlate")


def test_a_disconnected_client_is_noticed() -> None:
    gone = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await request.body()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async def talk(client: Client) -> None:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        client.writer.transport.close()
        await gone.wait()

    _talk(talk, wait)


def test_headers_that_arrive_too_slowly_are_refused() -> None:
    settings = Settings(header_seconds=0.1)

    async def talk(client: Client) -> bytes:
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
        return await client.answer()

    refused = _talk(talk, settings=settings)
    assert refused.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert refused.endswith(b'{"error": "the head of the request did not arrive within 0.1 s"}')
    assert _talk(lambda client: client.answer(), settings=settings) == b""
