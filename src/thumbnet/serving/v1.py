"""TensorFlow Serving's REST protocol: `:predict`, and the status and metadata of models."""

from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from thumbnet.data.stored import UInt8Array
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.bodies import while_connected
from thumbnet.serving.decoding import Picture
from thumbnet.serving.description import ERRORS, json_body
from thumbnet.serving.models import ServedModel
from thumbnet.serving.multipart import File
from thumbnet.serving.problems import RequestError
from thumbnet.serving.service import Service
from thumbnet.serving.tensors import INPUT, OUTPUT
from thumbnet.serving.v1_requests import PredictRequest, read_predict

_PREDICT = json_body(
    {
        "type": "object",
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "description": "One element for each image."},
            "inputs": {"description": "All images as one tensor, instead of instances."},
        },
    },
    'Images as nested lists of pixels from 0 to 255, or in "instances" as {"b64": "…"} with the '
    "bytes of a PNG, JPEG or WebP file.",
)


def routes(service: Service) -> APIRouter:
    """The endpoints below `/v1`."""
    router = APIRouter(prefix="/v1/models", tags=["TensorFlow Serving"], responses=ERRORS)

    async def answer(request: Request, name: str, version: str | None) -> dict[str, Any]:
        async def work(body: bytearray) -> tuple[str, Float32Array]:
            found = await service.parser.parse(read_predict, body, service.settings.images)
            images = found.images
            if images is None:
                images = await _decoded(service, model, found)
            key = "predictions" if found.by_rows else "outputs"
            return key, await service.predict(model, images)

        with service.repository.use(name, version) as model:
            async with service.bodies.read(request) as body:
                key, answers = await while_connected(
                    request, work(body), service.settings.request_seconds
                )
        return {key: answers.tolist()}

    @router.get("")
    async def names() -> dict[str, list[str]]:
        """The loaded models, in KServe's format."""
        return {"models": list(dict.fromkeys(m.name for m in service.repository.loaded()))}

    @router.post("/{name}:predict", openapi_extra=_PREDICT)
    async def predict(request: Request, name: str) -> dict[str, Any]:
        """Class probabilities from the latest version."""
        return await answer(request, name, None)

    @router.post("/{name}/versions/{version}:predict", openapi_extra=_PREDICT)
    async def predict_by_version(request: Request, name: str, version: str) -> dict[str, Any]:
        """Class probabilities from a given version."""
        return await answer(request, name, version)

    @router.get("/{name}")
    async def status(name: str) -> dict[str, Any]:
        """The loaded versions; KServe's clients read `ready`."""
        service.repository.find(name)
        loaded = [model for model in service.repository.loaded() if model.name == name]
        return {
            "name": name,
            "ready": True,
            "model_version_status": [_status(model) for model in loaded],
        }

    for verb in ("classify", "regress"):
        for address in (f"/{{name}}:{verb}", f"/{{name}}/versions/{{version}}:{verb}"):

            @router.post(address, include_in_schema=False)
            async def unsupported() -> None:
                """TensorFlow Serving's APIs for `tf.Example`; not supported."""
                raise RequestError(501, "only :predict is supported; send the images to it")

    @router.api_route(
        "/{name}/labels/{rest:path}", methods=["GET", "POST"], include_in_schema=False
    )
    async def labels(name: str, rest: str) -> None:
        """TensorFlow Serving's labels for versions; not supported."""
        raise RequestError(501, "versions have no labels; use /versions/NUMBER")

    @router.get("/{name}/versions/{version}")
    async def status_of_version(name: str, version: str) -> dict[str, Any]:
        """Whether a version is loaded."""
        return {"model_version_status": [_status(service.repository.find(name, version))]}

    @router.get("/{name}/metadata")
    async def metadata(name: str) -> dict[str, Any]:
        """The inputs and outputs of the latest version."""
        return _metadata(service.repository.find(name))

    @router.get("/{name}/versions/{version}/metadata")
    async def metadata_of_version(name: str, version: str) -> dict[str, Any]:
        """The inputs and outputs of a version."""
        return _metadata(service.repository.find(name, version))

    return router


async def _decoded(service: Service, model: ServedModel, request: PredictRequest) -> UInt8Array:
    """The decoded image files of a request."""
    files = [
        File(f"instance {position}", memoryview(content))
        for position, content in enumerate(request.files)
    ]
    found = await service.pictures.read(files, model.engine.image_shape)
    for problem in (picture for picture in found if isinstance(picture, str)):
        raise RequestError(400, problem)
    return np.stack([picture.pixels for picture in found if isinstance(picture, Picture)])


def _status(model: ServedModel) -> dict[str, Any]:
    return {
        "version": str(model.version),
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }


def _metadata(model: ServedModel) -> dict[str, Any]:
    def tensor(name: str, dtype: str, *sizes: int) -> dict[str, Any]:
        dimensions = [{"size": str(size), "name": ""} for size in (-1, *sizes)]
        return {
            name: {
                "dtype": dtype,
                "tensor_shape": {"dim": dimensions, "unknown_rank": False},
                "name": f"{name}:0",
            }
        }

    engine = model.engine
    signature = {
        "inputs": tensor(INPUT, "DT_UINT8", *engine.image_shape),
        "outputs": tensor(OUTPUT, "DT_FLOAT", len(engine.class_names)),
        "method_name": "tensorflow/serving/predict",
        "defaults": {},
    }
    return {
        "model_spec": {
            "name": model.name,
            "signature_name": "",
            "version": str(model.version),
        },
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
        **model.description(),
    }
