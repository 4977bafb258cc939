"""Taking a request's body within limits, and stopping when the client has gone."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

from starlette.requests import ClientDisconnect, Request

from thumbnet.serving.problems import RequestError
from thumbnet.serving.settings import Settings

_Result = TypeVar("_Result")
# Parsing more than this takes long enough for others to notice.
_PARSED_AT_ONCE = 65_536


class Bodies:
    """How much memory the requests take that are being read or answered."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pending = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request, which counts as pending until it is answered.

        Raises:
            RequestError: it is too large, comes too slowly, or too many are pending.
        """
        taken, parts = 0, []
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                self._require_room(_announced(request), 0)
                async for part in request.stream():
                    self._require_room(taken + len(part), taken)
                    taken += len(part)
                    self._pending += len(part)
                    parts.append(part)
        except TimeoutError as error:
            self._pending -= taken
            raise RequestError(
                408,
                f"the request did not arrive within {self._settings.body_seconds:g} s; send it "
                "faster or in smaller parts",
            ) from error
        except BaseException:
            self._pending -= taken
            raise
        try:
            yield b"".join(parts)
        finally:
            self._pending -= taken

    def _require_room(self, size: int, taken: int) -> None:
        if size > self._settings.body_bytes:
            raise RequestError(
                413,
                f"the request is larger than {self._settings.body_bytes:,} bytes; send fewer "
                "images at a time",
            )
        if self._pending + size - taken > self._settings.pending_bytes:
            raise RequestError(503, "too many requests are pending; try again later", 1)


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isdecimal() and len(text) < 19 else 0


async def while_connected(request: Request, work: Awaitable[_Result], seconds: float) -> _Result:
    """Wait for an answer until it is there, the time is over or the client has gone.

    Raises:
        RequestError: the time is over.
        ClientDisconnect: the client has gone.
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


async def parse_json(body: bytes) -> dict[str, Any]:
    """A JSON object, from UTF-8.

    Raises:
        RequestError: it is something else.
    """
    if len(body) > _PARSED_AT_ONCE:
        return await asyncio.to_thread(_parse, body)
    return _parse(body)


def _parse(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise RequestError(400, f"the request is no JSON: {reason}") from error
    if not isinstance(found, dict):
        raise RequestError(400, f"the request must be a JSON object, not a {type(found).__name__}")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")
