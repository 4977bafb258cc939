"""The Open Inference Protocol (V2): health and inference."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.bodies import while_connected
from thumbnet.serving.description import ERRORS, json_body
from thumbnet.serving.models import ServedModel
from thumbnet.serving.problems import RequestError
from thumbnet.serving.service import Service
from thumbnet.serving.tensors import INPUT, OUTPUT
from thumbnet.serving.v2_requests import InferRequest, read_infer

_LENGTH = "inference-header-content-length"
_INFER = json_body(
    {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string", "enum": [INPUT]},
                        "datatype": {"type": "string", "enum": ["UINT8"]},
                        "shape": {"type": "array", "items": {"type": "integer"}},
                        "parameters": {"type": "object"},
                        "data": {"type": "array"},
                    },
                    "required": ["name", "datatype", "shape"],
                },
            },
            "outputs": {"type": "array", "items": {"type": "object"}},
            "parameters": {"type": "object"},
        },
        "required": ["inputs"],
    },
    "With the binary tensor extension, the pixels follow the JSON, whose length is in the header "
    "Inference-Header-Content-Length.",
)


def routes(service: Service) -> APIRouter:
    """The endpoints of the service itself, and of inference."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], responses=ERRORS)
    repository = service.repository

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        """Whether the service is running."""
        return {"live": True}

    @router.get("/health/ready")
    async def ready() -> Response:
        """Whether all models named at start-up are loaded; 503 if not."""
        return JSONResponse({"ready": repository.ready}, 200 if repository.ready else 503)

    @router.get("/", include_in_schema=False)
    @router.get("")
    async def server() -> dict[str, Any]:
        """The service's name, protocol version and extensions."""
        return {
            "name": "thumbnet",
            "version": "2",  # of the protocol; the package's version is not disclosed
            "extensions": [
                "binary_tensor_data",
                "model_configuration",
                "model_repository",
                "statistics",
            ],
        }

    async def infer(request: Request, name: str, version: str | None) -> Response:
        async def work(body: bytearray) -> tuple[InferRequest, Float32Array]:
            length = _json_length(request, body)
            text = body if length == len(body) else body[:length]
            found = await service.parser.parse(read_infer, text, len(body) - length)
            images = found.images(memoryview(body)[length:])
            return found, await service.predict(model, images)

        with repository.use(name, version) as model:
            async with service.bodies.read(request) as body:
                found, answers = await while_connected(
                    request, work(body), service.settings.request_seconds
                )
        return _response(model, found, answers)

    for address in ("/models/{name}/infer", "/models/{name}/versions/{version}/infer"):

        @router.post(address, name=f"inference by {address}", openapi_extra=_INFER)
        async def model_infer(request: Request, name: str, version: str | None = None) -> Response:
            """Class probabilities of images."""
            return await infer(request, name, version)

    return router


def _json_length(request: Request, body: bytearray) -> int:
    """The number of bytes of JSON at the start of the body; binary tensors follow."""
    text = request.headers.get(_LENGTH)
    if text is None:
        return len(body)
    if not (text.isdecimal() and len(text) < 10 and int(text) <= len(body)):
        raise RequestError(
            400,
            "Inference-Header-Content-Length must be the length of the JSON, at most that of the "
            "request",
        )
    return int(text)


def _response(model: ServedModel, request: InferRequest, answers: Float32Array) -> Response:
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(answers.shape)}
    content: dict[str, Any] = {
        "model_name": model.name,
        "model_version": str(model.version),
        "outputs": [output],
    }
    if request.id is not None:
        content["id"] = request.id
    if not request.binary_output:
        output["data"] = answers.ravel().tolist()
        return JSONResponse(content)
    tensor = answers.astype("<f4", copy=False).tobytes()
    output["parameters"] = {"binary_data_size": len(tensor)}
    text = json.dumps(content).encode()
    return Response(
        text + tensor,
        media_type="application/octet-stream",
        headers={"Inference-Header-Content-Length": str(len(text))},
    )
