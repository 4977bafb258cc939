"""The pages of the service: one to try an image, one that describes the endpoints."""

from functools import cache
from pathlib import Path

import jinja2
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Permissions-Policy": "geolocation=(), camera=()"}


def mount_page(app: FastAPI) -> None:
    """Add the page at `/`, the description of the endpoints at `/docs`, and their files."""

    @app.get("/", include_in_schema=False)
    async def page(request: Request) -> Response:
        # Programs such as KServe use `/` as a health check; browsers accept HTML.
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"status": "alive"})
        return FileResponse(_HERE / "files" / "index.html", headers=_HEADERS)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(rendered(), headers=_HEADERS)

    @cache
    def rendered() -> str:
        template = (_HERE / "docs.html.j2").read_text(encoding="utf-8")
        return jinja2.Environment(autoescape=True).from_string(template).render(api=app.openapi())

    app.mount("/page", StaticFiles(directory=_HERE / "files"), name="page")
