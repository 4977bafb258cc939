"""Reads request bodies within limits, and stops work when the client has disconnected."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from thumbnet.serving.problems import RequestError
from thumbnet.serving.settings import Settings

_Result = TypeVar("_Result")
_PIECE_BYTES = 2**18


class Bodies:
    """Reads bodies, and limits the memory of all requests that are being read or answered."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pending = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """The decompressed body of a request; it counts as pending until it is answered.

        Raises:
            RequestError: it is too large, arrives too slowly, or too many requests are pending.
        """
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                await self._read_into(body, request)
        except TimeoutError as error:
            self._pending -= len(body)
            raise RequestError(
                408,
                f"the request did not arrive within {self._settings.body_seconds:g} s; send it "
                "faster or in smaller parts",
            ) from error
        except BaseException:
            self._pending -= len(body)
            raise
        try:
            yield body
        finally:
            self._pending -= len(body)

    async def _read_into(self, body: bytearray, request: Request) -> None:
        decompressor = _decompressor(request)
        self._require_room(body, _content_length(request))
        async for compressed in request.stream():
            for part in (
                [compressed] if decompressor is None else _decompressed(decompressor, compressed)
            ):
                self._require_room(body, len(part))
                body += part
                self._pending += len(part)
                if decompressor is not None:
                    await asyncio.sleep(0)  # a chunk may expand a thousandfold
        if decompressor is not None and not decompressor.eof:
            raise RequestError(400, "the compressed body is truncated")

    def _require_room(self, body: bytearray, more: int) -> None:
        if len(body) + more > self._settings.body_bytes:
            raise RequestError(
                413,
                f"the request is larger than {self._settings.body_bytes:,} bytes; send fewer "
                "images at a time",
            )
        if self._pending + more > self._settings.pending_bytes:
            raise RequestError(503, "too many requests are pending; try again later", 1)


def _content_length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


def _decompressor(request: Request) -> "zlib._Decompress | None":
    """The decompressor for a compressed body; None if it is not compressed.

    Raises:
        RequestError: the encoding is neither gzip nor deflate, or there are several.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    match encoding:
        case "identity" | "":
            return None
        case "gzip" | "x-gzip":
            return zlib.decompressobj(16 + zlib.MAX_WBITS)
        case "deflate":
            return zlib.decompressobj()
    raise RequestError(415, "the Content-Encoding of a request must be gzip or deflate")


def _decompressed(decompressor: "zlib._Decompress", compressed: bytes) -> Iterator[bytes]:
    """The decompressed content of a chunk, in pieces.

    Raises:
        RequestError: it is damaged, or data follows its end.
    """
    try:
        while compressed:
            if decompressor.eof:
                raise RequestError(400, "data follows the end of the compressed body")
            part = decompressor.decompress(compressed, _PIECE_BYTES)
            compressed = decompressor.unconsumed_tail or decompressor.unused_data
            yield part
    except zlib.error as error:
        raise RequestError(400, f"the compressed body is damaged: {error}") from error


async def while_connected(request: Request, work: Awaitable[_Result], seconds: float) -> _Result:
    """Wait for an answer until it is ready, time runs out or the client disconnects.

    Raises:
        RequestError: time has run out.
        ClientDisconnect: the client has disconnected.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect_of(request))
    try:
        await asyncio.wait({working, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        if gone.done():
            raise ClientDisconnect
        raise RequestError(503, f"no answer within {seconds:g} s; try again later", 1)
    finally:
        gone.cancel()
        working.cancel()


async def _disconnect_of(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
