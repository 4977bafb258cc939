"""The outermost middleware: limits, a request id, the log and the metrics."""

import asyncio
import logging
import re
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from thumbnet.serving.log import LOGGER
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.settings import Settings

_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_METHODS = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
_CLIENT_GONE = 499  # nginx's code; only logged, as the client has disconnected
# HTML pages set their own policy.
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
# How long to read and discard the rest of a body.
_REST_SECONDS = 5.0


class Gate:
    """Middleware around everything else; it turns every error into one sentence.

    Args:
        app: the wrapped application.
        metrics: counts requests.
        settings: the limits on requests in progress and on the size of bodies.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, settings: Settings) -> None:
        self._app, self._metrics, self._settings = app, metrics, settings
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = _normalized_scope(scope, self._settings.root_path)
        started, status = time.perf_counter(), 0
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        full = self._in_progress >= self._settings.requests
        body = _Body(scope, receive)
        is_closed = scope.get("state", {}).get("is_closed", _never_closed)

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # Many clients read the response only after they have sent the whole body.
                if not body.complete and (full or not await body.skip(self._settings.body_bytes)):
                    headers["Connection"] = "close"
            if is_closed():  # writing would fail
                raise ClientDisconnect
            await send(message)

        self._in_progress += 1
        try:
            app = self._app
            if full:
                app = _FULL
            elif self._settings.root_path and scope["path"] == self._settings.root_path:
                # The page's links are relative and need the trailing slash.
                app = RedirectResponse(f"{self._settings.root_path}/", 308)
            await app(scope, body.receive, send_on)
        except ClientDisconnect:
            status = _CLIENT_GONE
        except Exception:
            LOGGER.exception({"request_id": request_id})
            if not status and not is_closed():
                message = f"internal error; see request {request_id} in the service's log"
                await JSONResponse({"error": message}, 500)(scope, body.receive, send_on)
        finally:
            self._in_progress -= 1
            self._record(scope, request_id, status, time.perf_counter() - started)

    def _record(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
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
    """Tracks how much of a request's body is still to come."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        # Such a client waits for 100 Continue before it sends the body.
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
        """Discard the rest of the body; returns whether it ended within the limits."""
        if self._waits:
            return False
        try:
            async with asyncio.timeout(_REST_SECONDS):
                while not self.complete and most >= 0:
                    most -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            return False
        return self.complete


def _normalized_scope(scope: Scope, root_path: str) -> Scope:
    """The request as the application sees it.

    HEAD is handled like GET; Uvicorn knows the original method and omits the body. A proxy may
    forward its own path prefix, which is removed.
    """
    path = scope["path"]
    changes = {"method": "GET"} if scope["method"] == "HEAD" else {}
    if root_path and path.startswith(f"{root_path}/"):
        changes["path"] = path[len(root_path) :]
    return {**scope, **changes} if changes else scope


def _never_closed() -> bool:
    """Stands in for `is_closed` where there is no connection, as in tests."""
    return False
