"""What every request passes: an id, a line in the log, a place in the metrics, and who may ask."""

import asyncio
import hmac
import logging
import re
import time
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thumbnet.serving.log import LOGGER
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.settings import Settings

_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
_CLIENT_GONE = 499  # as nginx has it; never sent, as nobody is there
# Pages set a policy of their own.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_FULL = JSONResponse(
    {"error": "too many requests are in progress; try again later"}, 503, {"Retry-After": "1"}
)
# How long the rest of a body may take that nobody needs any more.
_REST_SECONDS = 5.0


class Gate:
    """Middleware around everything else, see above; every error leaves it as one sentence.

    Args:
        app: what answers.
        metrics: where requests are counted.
        settings: how many requests may be in progress, and how large a body may be.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings) -> None:
        self._app, self._metrics, self._settings = app, metrics, settings
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        full = self._in_progress >= self._settings.requests
        body = _Body(scope, receive)
        is_closed = scope.get("state", {}).get("is_closed", _never)

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # Until its body has come, a client does not look for an answer.
                if not body.complete and (full or not await body.skip(self._settings.body_bytes)):
                    headers["Connection"] = "close"
            if is_closed():  # writing to it would be an error
                raise ClientDisconnect
            await send(message)

        self._in_progress += 1
        try:
            await (_FULL if full else self._app)(scope, body.receive, send_on)
        except ClientDisconnect:
            status = _CLIENT_GONE
        except Exception:
            LOGGER.exception({"request_id": request_id})
            if not status and not is_closed():
                message = f"the service failed; its log says more of request {request_id}"
                await JSONResponse({"error": message}, 500)(scope, body.receive, send_on)
        finally:
            self._in_progress -= 1
            self._note(scope, request_id, status, time.perf_counter() - started)

    def _note(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.request(route, method, status, seconds)
        if not LOGGER.isEnabledFor(logging.INFO):
            return
        client = scope.get("client")
        line = {
            "request_id": request_id,
            "client": client[0] if client else None,
            "method": method,
            "path": scope["path"][:200],
            "status": status,
            "seconds": round(seconds, 6),
        }
        LOGGER.info(line)


class _Body:
    """Knows how much of a request's body is still to come."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        # Such a client sends no body before it is asked to.
        self._waits = "expect" in Headers(scope=scope)
        self.complete = False

    async def receive(self) -> Message:
        """The next message of the request."""
        self._waits = False
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.complete = True
        return message

    async def skip(self, most: int) -> bool:
        """Throw the rest of the body away; whether that was done, within bounds."""
        if self._waits:
            return False
        try:
            async with asyncio.timeout(_REST_SECONDS):
                while not self.complete and most >= 0:
                    most -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return False
        return self.complete


class Guard:
    """Middleware that lets in who may ask.

    Args:
        app: what is guarded.
        token: the bearer token that a request must carry; empty for none.
        cors_origins: the other pages from which a browser may ask.
    """

    def __init__(self, app: ASGIApp, token: str, cors_origins: tuple[str, ...]) -> None:
        self._app = app
        self._token = token.encode()
        self._cors_origins = cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if not self._from_here(headers):
                app = _refusal(403, "pages of this origin may not ask; the service's --cors can")
            elif not (_is_open(scope["path"]) or self._has_token(headers)):
                app = _refusal(401, "send the header Authorization: Bearer TOKEN")
        await app(scope, receive, send)

    def _from_here(self, headers: Headers) -> bool:
        """Whether it is no page of another host that asks with the user's browser."""
        origin = headers.get("origin")
        if origin is None or origin in self._cors_origins or "*" in self._cors_origins:
            return True
        try:
            return urlsplit(origin).netloc == headers.get("host")
        except ValueError:
            return False

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        return not self._token or (known and scheme.lower() == "bearer")


def _never() -> bool:
    """Whether a connection is closed that is none, as in tests."""
    return False


def _is_open(path: str) -> bool:
    """The page itself, which asks for the token, and what a machine asks to see if all is well."""
    return path in ("/", "/docs", "/openapi.json") or path.startswith(("/page/", "/v2/health/"))


def _refusal(status: int, message: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"error": message}, status, headers)
