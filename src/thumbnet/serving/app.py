"""Assembles the service."""

from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from thumbnet.serving import forms, v1, v2, v2_models
from thumbnet.serving.gate import Gate
from thumbnet.serving.guard import Guard
from thumbnet.serving.page import mount_page
from thumbnet.serving.problems import RequestError
from thumbnet.serving.service import Service


def create_app(service: Service) -> FastAPI:
    """The ASGI application of a service; the caller loads the models."""
    settings = service.settings
    app = FastAPI(
        title="Thumbnet",
        version="2",
        summary="Class probabilities for small images.",
        docs_url=None,  # FastAPI's pages load their scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
    )
    app.include_router(forms.routes(service))
    app.include_router(v2.routes(service))
    app.include_router(v2_models.routes(service))
    app.include_router(v1.routes(service))
    mount_page(app)

    @app.get("/metrics", tags=["Metrics"])
    async def metrics() -> Response:
        """Metrics in the Prometheus text format."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    # Middleware added last runs first.
    app.add_middleware(Guard, settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            allow_headers=(
                "authorization",
                "content-type",
                "inference-header-content-length",
                "x-request-id",
            ),
            expose_headers=("inference-header-content-length", "retry-after", "x-request-id"),
        )
    app.add_middleware(Gate, service.metrics, settings)
    app.add_exception_handler(RequestError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_http_error)
    app.add_exception_handler(RequestValidationError, _refuse_value)
    return app


def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse({"error": str(error)}, error.status, headers)


def _refuse_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {404: "no such endpoint; /docs lists them"}
    message = messages.get(error.status_code) or HTTPStatus(error.status_code).phrase.lower()
    return JSONResponse({"error": message}, error.status_code, error.headers)


def _refuse_value(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    name = problem["loc"][-1]
    return JSONResponse({"error": f"{name}: {problem['msg'].lower()}"}, 400)
