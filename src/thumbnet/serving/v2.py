"""The Open Inference Protocol (V2): health, metadata, inference and the model repository."""

import json
import math
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from thumbnet.data.stored import UInt8Array
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.bodies import parse_json
from thumbnet.serving.description import ERRORS, json_body
from thumbnet.serving.models import ServedModel
from thumbnet.serving.problems import RequestError
from thumbnet.serving.service import Service
from thumbnet.serving.tensors import INPUT, OUTPUT, images_of_values

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
    """The addresses below `/v2`."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], responses=ERRORS)
    repository = service.repository

    @router.get("/health/live")
    async def live() -> dict[str, bool]:
        """Whether the service runs."""
        return {"live": True}

    @router.get("/health/ready")
    async def ready() -> Response:
        """Whether the models are there; 503 where not."""
        return JSONResponse({"ready": repository.ready}, 200 if repository.ready else 503)

    @router.get("")
    async def server() -> dict[str, Any]:
        """What the service is and can do."""
        return {
            "name": "thumbnet",
            "version": "2",  # of the protocol; that of the package is nobody's business
            "extensions": ["binary_tensor_data", "model_repository"],
        }

    async def infer(request: Request, name: str, version: str | None) -> Response:
        model = repository.find(name, version)
        async with service.bodies.read(request) as body:
            header, binary = await _parted(request, body)
            images = _images(header, binary)
            wanted_binary = _wants_binary(header)
            answers = await service.answer(request, model, images)
        return _response(model, header, answers, wanted_binary)

    for address in ("/models/{name}", "/models/{name}/versions/{version}"):

        @router.get(address, name=f"metadata of {address}")
        async def metadata(name: str, version: str | None = None) -> dict[str, Any]:
            """What a model takes and gives, and the digest of its file."""
            return _metadata(repository, repository.find(name, version))

        @router.get(f"{address}/ready", name=f"readiness of {address}")
        async def model_ready(name: str, version: str | None = None) -> dict[str, Any]:
            """Whether a model is there."""
            repository.find(name, version)
            return {"name": name, "ready": True}

        @router.post(f"{address}/infer", name=f"inference by {address}", openapi_extra=_INFER)
        async def model_infer(request: Request, name: str, version: str | None = None) -> Response:
            """Class probabilities of images."""
            return await infer(request, name, version)

    @router.post("/repository/index")
    async def index() -> list[dict[str, Any]]:
        """Every model that is known, and whether it is loaded."""
        return repository.index()

    @router.post("/repository/models/{name}/load")
    async def load(name: str) -> dict[str, Any]:
        """Load a model, or load it anew from its directory."""
        await repository.load(name)
        return {}

    @router.post("/repository/models/{name}/unload")
    async def unload(name: str) -> dict[str, Any]:
        """Unload a model, when it has answered what it took."""
        await repository.unload(name)
        return {}

    return router


def _metadata(repository: Any, model: ServedModel) -> dict[str, Any]:
    engine = model.engine
    return {
        "name": model.name,
        "versions": [
            str(other.version) for other in repository.loaded() if other.name == model.name
        ],
        "platform": f"thumbnet_{engine.name}",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *engine.image_shape]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(engine.class_names)]}],
        "parameters": {
            "version": str(model.version),
            "class_names": engine.class_names,
            **model.description(),
        },
    }


async def _parted(request: Request, body: bytes) -> tuple[dict[str, Any], memoryview]:
    """The JSON of a request, and the binary tensors behind it."""
    text = request.headers.get(_LENGTH)
    if text is None:
        return await parse_json(body), memoryview(b"")
    if not (text.isdecimal() and len(text) < 10 and int(text) <= len(body)):
        raise RequestError(
            400,
            "Inference-Header-Content-Length must be the length of the JSON, at most that of the "
            "request",
        )
    return await parse_json(body[: int(text)]), memoryview(body)[int(text) :]


def _images(header: dict[str, Any], binary: memoryview) -> UInt8Array:
    inputs = header.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise RequestError(400, f'the request must have one input, named "{INPUT}"')
    (tensor,) = inputs
    if tensor.get("name") != INPUT or tensor.get("datatype") != "UINT8":
        raise RequestError(400, f'the input must have the name "{INPUT}" and the datatype "UINT8"')
    shape = tensor.get("shape")
    if not (
        isinstance(shape, list)
        and 1 <= len(shape) <= 8
        and all(type(size) is int and 0 <= size < 2**31 for size in shape)
    ):
        raise RequestError(400, "the shape must be a list of whole numbers")
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        if "data" not in tensor:
            raise RequestError(400, 'the input has neither "data" nor "binary_data_size"')
        pixels = images_of_values(tensor["data"]).reshape(-1)
    elif type(size) is not int or size != len(binary):
        raise RequestError(
            400, f"binary_data_size says {size!r:.40}, and {len(binary)} bytes follow the JSON"
        )
    else:
        pixels = np.frombuffer(binary, np.uint8)
    if len(pixels) != math.prod(shape):
        raise RequestError(
            400, f"the shape {shape} has {math.prod(shape)} values; got {len(pixels)}"
        )
    return pixels.reshape(shape)


def _wants_binary(header: dict[str, Any]) -> bool:
    wanted = _parameters(header).get("binary_data_output", False)
    outputs = header.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise RequestError(400, '"outputs" must be a list of objects')
    for output in outputs:
        if output.get("name") != OUTPUT:
            raise RequestError(400, f'the only output is named "{OUTPUT}"')
        parameters = _parameters(output)
        if parameters.get("classification"):
            raise RequestError(400, "there is no classification extension; take the probabilities")
        wanted = parameters.get("binary_data", wanted)
    return bool(wanted)


def _parameters(of: dict[str, Any]) -> dict[str, Any]:
    parameters = of.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(400, '"parameters" must be an object')
    return parameters


def _response(
    model: ServedModel, header: dict[str, Any], answers: Float32Array, binary: bool
) -> Response:
    output: dict[str, Any] = {"name": OUTPUT, "datatype": "FP32", "shape": list(answers.shape)}
    content: dict[str, Any] = {
        "model_name": model.name,
        "model_version": str(model.version),
        "outputs": [output],
    }
    if isinstance(header.get("id"), str):
        content["id"] = header["id"]
    if not binary:
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
