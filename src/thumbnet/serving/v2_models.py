"""The Open Inference Protocol (V2): model metadata and loading, with Triton's extensions."""

from typing import Any

from fastapi import APIRouter, Request

from thumbnet.serving.batching import Counts
from thumbnet.serving.description import ERRORS, json_body
from thumbnet.serving.models import ServedModel
from thumbnet.serving.parsing import json_object
from thumbnet.serving.problems import RequestError
from thumbnet.serving.service import Service
from thumbnet.serving.tensors import INPUT, OUTPUT

_INDEX = json_body(
    {"type": "object", "properties": {"ready": {"type": "boolean"}}},
    'Nothing, or {"ready": true} for the models that are loaded.',
    required=False,
)
_PARAMETERS = json_body(
    {"type": "object", "properties": {"parameters": {"type": "object"}}},
    "Nothing; parameters that would change the model are not supported.",
    required=False,
)


def routes(service: Service) -> APIRouter:
    """The endpoints below `/v2/models` and `/v2/repository`, except inference."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"], responses=ERRORS)
    repository = service.repository

    @router.get("/models/stats")
    async def all_statistics() -> dict[str, Any]:
        """Statistics of every model since it was loaded (Triton's extension)."""
        return {"model_stats": [_statistics(model) for model in repository.loaded()]}

    for address in ("/models/{name}", "/models/{name}/versions/{version}"):

        @router.get(address, name=f"metadata of {address}")
        async def metadata(name: str, version: str | None = None) -> dict[str, Any]:
            """The inputs and outputs of a model, and the digest of its file."""
            model = repository.find(name, version)
            versions = [other.version for other in repository.loaded() if other.name == name]
            return _metadata(model, versions)

        @router.get(f"{address}/ready", name=f"readiness of {address}")
        async def model_ready(name: str, version: str | None = None) -> dict[str, Any]:
            """Whether a model is loaded."""
            repository.find(name, version)
            return {"name": name, "ready": True}

        @router.get(f"{address}/config", name=f"configuration of {address}")
        async def config(name: str, version: str | None = None) -> dict[str, Any]:
            """The model as a Triton configuration."""
            return _config(service, repository.find(name, version))

        @router.get(f"{address}/stats", name=f"statistics of {address}")
        async def statistics(name: str, version: str | None = None) -> dict[str, Any]:
            """Statistics of a model since it was loaded (Triton's extension)."""
            found = repository.find(name, version)
            models = [
                model
                for model in repository.loaded()
                if model.name == name and (version is None or model is found)
            ]
            return {"model_stats": [_statistics(model) for model in models]}

    @router.post("/repository/index", openapi_extra=_INDEX)
    async def index(request: Request) -> list[dict[str, Any]]:
        """Every available model, and whether it is loaded."""
        ready = (await _body(service, request)).get("ready", False)
        if not isinstance(ready, bool):
            raise RequestError(400, '"ready" must be true or false')
        lines = repository.index()
        return [line for line in lines if line["state"] == "READY" or not ready]

    @router.post("/repository/models/{name}/load", openapi_extra=_PARAMETERS)
    async def load(request: Request, name: str) -> dict[str, Any]:
        """Load a model, or reload it from its directory."""
        _refuse_parameters(await _body(service, request))
        await repository.load(name)
        return {}

    @router.post("/repository/models/{name}/unload", openapi_extra=_PARAMETERS)
    async def unload(request: Request, name: str) -> dict[str, Any]:
        """Unload a model; accepted requests are still answered."""
        _refuse_parameters(await _body(service, request))
        await repository.unload(name)
        return {}

    return router


async def _body(service: Service, request: Request) -> dict[str, Any]:
    """The optional JSON object of a request; empty if it has none."""
    async with service.bodies.read(request) as body:
        return await service.parser.parse(json_object, body) if body.strip() else {}


def _refuse_parameters(values: dict[str, Any]) -> None:
    """Refuse parameters that would be ignored, such as a configuration or files.

    Raises:
        RequestError: naming the first such parameter.
    """
    parameters = values.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(400, '"parameters" must be an object')
    for name, value in parameters.items():
        # Triton's client always sends this one.
        if not (name == "unload_dependents" and value is False):
            raise RequestError(400, f"the parameter {name!r:.60} is not supported")


def _metadata(model: ServedModel, versions: list[int]) -> dict[str, Any]:
    engine = model.engine
    return {
        "name": model.name,
        "versions": [str(version) for version in versions],
        "platform": f"thumbnet_{engine.name}",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, *engine.image_shape]}],
        "outputs": [{"name": OUTPUT, "datatype": "FP32", "shape": [-1, len(engine.class_names)]}],
        "parameters": {
            "version": str(model.version),
            "class_names": engine.class_names,
            **model.description(),
        },
    }


def _config(service: Service, model: ServedModel) -> dict[str, Any]:
    settings, engine = service.settings, model.engine
    return {
        "name": model.name,
        "platform": f"thumbnet_{engine.name}",
        "backend": engine.name,
        "max_batch_size": settings.images,
        "input": [{"name": INPUT, "data_type": "TYPE_UINT8", "dims": list(engine.image_shape)}],
        "output": [{"name": OUTPUT, "data_type": "TYPE_FP32", "dims": [len(engine.class_names)]}],
        "dynamic_batching": {
            "preferred_batch_size": [settings.batch_images],
            "max_queue_delay_microseconds": round(settings.batch_seconds * 1e6),
        },
        "parameters": {
            name: {"string_value": value} for name, value in model.description().items()
        },
    }


def _statistics(model: ServedModel) -> dict[str, Any]:
    counts: Counts = model.batcher.counts

    def duration(count: int, seconds: float = 0.0) -> dict[str, int]:
        return {"count": count, "ns": round(seconds * 1e9)}

    return {
        "name": model.name,
        "version": str(model.version),
        "last_inference": round(counts.last * 1e3),
        "inference_count": counts.images,
        "execution_count": counts.batches,
        "inference_stats": {
            "success": duration(counts.requests, counts.waited + counts.computed),
            "fail": duration(counts.failed),
            "queue": duration(counts.requests, counts.waited),
            "compute_input": duration(counts.requests),
            "compute_infer": duration(counts.requests, counts.computed),
            "compute_output": duration(counts.requests),
        },
        "batch_stats": [],
    }
