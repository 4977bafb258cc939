"""TensorFlow Serving's REST protocol: `:predict`, status and metadata of models."""

import base64
import binascii
from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from thumbnet.serving.bodies import parse_json
from thumbnet.serving.description import ERRORS, json_body
from thumbnet.serving.forms import Pictures
from thumbnet.serving.models import ServedModel
from thumbnet.serving.problems import RequestError
from thumbnet.serving.service import Service
from thumbnet.serving.tensors import INPUT, OUTPUT, images_of_values

_PREDICT = json_body(
    {
        "type": "object",
        "properties": {
            "signature_name": {"type": "string"},
            "instances": {"type": "array", "description": "One element for each image."},
            "inputs": {"description": "All images as one tensor; instead of instances."},
        },
    },
    'Images as nested lists of pixels from 0 to 255, or in "instances" as {"b64": "…"} with the '
    "bytes of a PNG, JPEG or WebP file.",
)


def routes(service: Service, pictures: Pictures) -> APIRouter:
    """The addresses below `/v1`."""
    router = APIRouter(prefix="/v1/models/{name}", tags=["TensorFlow Serving"], responses=ERRORS)

    async def answer(request: Request, name: str, version: str | None) -> dict[str, Any]:
        model = service.repository.find(name, version)
        async with service.bodies.read(request) as body:
            values = await parse_json(body)
            _require_signature(values)
            key, given = _images_in(values)
            if key == "inputs":
                images = images_of_values(_named(given))
            else:
                images = await _images_of_instances(given, model, pictures, service.settings.images)
            answers = await service.answer(request, model, images)
        return {"predictions" if key == "instances" else "outputs": answers.tolist()}

    @router.post(":predict", openapi_extra=_PREDICT)
    async def predict(request: Request, name: str) -> dict[str, Any]:
        """Class probabilities, by the latest version."""
        return await answer(request, name, None)

    @router.post("/versions/{version}:predict", openapi_extra=_PREDICT)
    async def predict_by_version(request: Request, name: str, version: str) -> dict[str, Any]:
        """Class probabilities, by a version."""
        return await answer(request, name, version)

    @router.get("")
    async def status(name: str) -> dict[str, Any]:
        """Which versions are there."""
        service.repository.find(name)
        loaded = [model for model in service.repository.loaded() if model.name == name]
        return {"model_version_status": [_status(model) for model in loaded]}

    @router.get("/versions/{version}")
    async def status_of_version(name: str, version: str) -> dict[str, Any]:
        """Whether a version is there."""
        return {"model_version_status": [_status(service.repository.find(name, version))]}

    @router.get("/metadata")
    async def metadata(name: str) -> dict[str, Any]:
        """What the latest version takes and gives."""
        return _metadata(service.repository.find(name))

    @router.get("/versions/{version}/metadata")
    async def metadata_of_version(name: str, version: str) -> dict[str, Any]:
        """What a version takes and gives."""
        return _metadata(service.repository.find(name, version))

    return router


def _require_signature(values: dict[str, Any]) -> None:
    if values.get("signature_name", "serving_default") not in ("", "serving_default"):
        raise RequestError(400, 'the only signature is "serving_default"; leave signature_name out')


def _images_in(values: dict[str, Any]) -> tuple[str, Any]:
    given = [key for key in ("instances", "inputs") if key in values]
    if len(given) != 1:
        raise RequestError(400, 'the request must have either "instances" or "inputs"')
    return given[0], values[given[0]]


def _named(value: Any) -> Any:
    """The images in `{"images": …}`, which is the long form of `…`."""
    if isinstance(value, dict) and value.keys() == {INPUT}:
        return value[INPUT]
    return value


async def _images_of_instances(
    instances: Any, model: ServedModel, pictures: Pictures, most: int
) -> Any:
    if not isinstance(instances, list):
        raise RequestError(400, '"instances" must be a list with an element for each image')
    if len(instances) > most:
        raise RequestError(400, f"a request holds 1 to {most:,} images; got {len(instances):,}")
    values = [_named(instance) for instance in instances]
    encoded = [isinstance(value, dict) and value.keys() == {"b64"} for value in values]
    if not any(encoded):
        return images_of_values(values)
    if not all(encoded):
        raise RequestError(400, 'either all "instances" are {"b64": "…"} or none')
    files = [
        (f"instance {position}", _bytes_of(value["b64"], position))
        for position, value in enumerate(values)
    ]
    found = await pictures.read(files, model.engine.image_shape)
    for problem in (picture for picture in found if isinstance(picture, str)):
        raise RequestError(400, problem)
    return np.stack([picture.pixels for picture in found if not isinstance(picture, str)])


def _bytes_of(text: Any, position: int) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise RequestError(400, f"instance {position} is no base64 text") from error


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
