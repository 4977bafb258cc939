"""Access control: checks the Host header, the origin of the page and the token."""

import hmac
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from thumbnet.serving.settings import Settings

_PORTS = {"http": 80, "https": 443}


class Guard:
    """Middleware that admits only permitted requests.

    Args:
        app: the wrapped application.
        settings: the token, the allowed hosts and the allowed origins.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token = settings.token.encode()
        self._origins = settings.cors_origins
        self._hosts = frozenset(host.lower() for host in settings.allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http":
            app = self._refusal(scope, Headers(scope=scope)) or app
        await app(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        if not self._serves(headers.getlist("host")):
            return _answer(421, "this host name is not served; see the option --allowed-host")
        if not self._is_same_origin(headers):
            return _answer(403, "pages of this origin may not send requests; see the option --cors")
        if not (_is_open(scope["path"]) or self._has_token(headers)):
            return _answer(401, "send the header Authorization: Bearer TOKEN")
        return None

    def _serves(self, hosts: list[str]) -> bool:
        """Whether the Host header names this service.

        Otherwise a site could point its own name here (DNS rebinding), and its pages could read
        the responses, because the browser takes both for the same origin.
        """
        if len(hosts) > 1:
            return False
        if not self._hosts or not hosts:
            return True
        return (_host_and_port(f"http://{hosts[0]}") or ("", 0))[0] in self._hosts

    def _is_same_origin(self, headers: Headers) -> bool:
        """Whether the request does not come from another site's page in the user's browser."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is None:
            # Another site's page may link here, but not load anything from here.
            return site != "cross-site" or headers.get("sec-fetch-mode") == "navigate"
        if origin in self._origins or "*" in self._origins:
            return True
        # Behind a proxy the Host may differ from the browser's, which is authoritative.
        if site is not None:
            return site == "same-origin"
        scheme = urlsplit(origin).scheme if "://" in origin else ""
        own = _host_and_port(f"{scheme}://{headers.get('host', '')}")
        return own is not None and _host_and_port(origin) == own

    def _has_token(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self._token)
        return not self._token or (known and scheme.lower() == "bearer")


def hosts_of(address: str) -> tuple[str, ...]:
    """The host names of a loopback address; empty if other machines can reach the address."""
    try:
        is_loopback = address == "localhost" or ip_address(address).is_loopback
    except ValueError:
        is_loopback = False
    return ("localhost", "127.0.0.1", "::1", address) if is_loopback else ()


def _host_and_port(origin: str) -> tuple[str, int] | None:
    """Host and port of an origin, whose port is optional; None if it is not an origin."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    return (parts.hostname.lower(), port) if parts.hostname else None


def _is_open(path: str) -> bool:
    """The page itself, which asks the user for the token, and the health checks."""
    return path in ("/", "/docs", "/openapi.json") or path.startswith(("/page/", "/v2/health/"))


def _answer(status: int, message: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse({"error": message}, status, headers)
