"""The endpoints for image files: classification, and occlusion maps."""

import asyncio
import base64
import io
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from PIL import Image

from thumbnet.data.stored import UInt8Array
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.bodies import while_connected
from thumbnet.serving.decoding import Picture
from thumbnet.serving.description import ERRORS, files_body
from thumbnet.serving.examples import bundled_examples
from thumbnet.serving.models import ServedModel
from thumbnet.serving.multipart import File, read_files
from thumbnet.serving.problems import RequestError
from thumbnet.serving.service import Service
from thumbnet.serving.settings import Settings

# The occluding square has a quarter of the image's side and moves by an eighth.
_COVER, _STEPS = 4, 7


def routes(service: Service) -> APIRouter:
    """The endpoints `/classify`, `/explain` and `/models`."""
    router = APIRouter(tags=["Images"], responses=ERRORS)

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """The loaded models."""
        return {
            "models": [
                {
                    "name": model.name,
                    "version": str(model.version),
                    "class_names": model.engine.class_names,
                    "image_shape": model.engine.image_shape,
                    **model.description(),
                    "calibrated": model.calibrated,
                    "reject_below": service.settings.reject_below,
                }
                for model in service.repository.loaded()
            ]
        }

    @router.get("/examples")
    async def examples(
        model: Annotated[str | None, Query(description="By default, the first.")] = None,
        version: Annotated[str | None, Query(description="By default, the latest.")] = None,
    ) -> dict[str, Any]:
        """Test images of a model with their true class, for the web page; there may be none."""
        with service.repository.use(model, version) as served:
            found = service.examples.get(served.name) or bundled_examples(served.engine.class_names)
        return {"examples": [example.to_dict() for example in found]}

    @router.post(
        "/classify", openapi_extra=files_body("files", True, "PNG, JPEG or WebP files of any size.")
    )
    async def classify(
        request: Request,
        model: Annotated[str | None, Query(description="By default, the first.")] = None,
        version: Annotated[str | None, Query(description="By default, the latest.")] = None,
        top: Annotated[int | None, Query(ge=1, description="Only this many classes.")] = None,
    ) -> dict[str, Any]:
        """Classify images.

        A file that cannot be read has an error among the results; if no file can be read, the
        status is 400.
        """
        with service.repository.use(model, version) as served:
            async with service.bodies.read(request) as body:
                files = await _files(request, body, service.settings)
                pictures, answers = await while_connected(
                    request,
                    _answer(service, served, files),
                    service.settings.request_seconds,
                )
        reject_below = service.settings.reject_below
        rows = iter(answers)
        return {
            "model": served.name,
            "version": str(served.version),
            **served.description(),
            "calibrated": served.calibrated,
            "results": [
                {"file": file.name, "error": picture}
                if isinstance(picture, str)
                else {"file": file.name, **_result(next(rows), served, top, reject_below)}
                for file, picture in zip(files, pictures, strict=True)
            ],
        }

    @router.post("/explain", openapi_extra=files_body("file", False, "One PNG, JPEG or WebP file."))
    async def explain(
        request: Request,
        model: Annotated[str | None, Query(description="By default, the first.")] = None,
        version: Annotated[str | None, Query(description="By default, the latest.")] = None,
    ) -> dict[str, Any]:
        """Show which regions of an image the prediction depends on.

        `map` is the drop in the probability of the predicted class when a square around each of
        7 × 7 positions is filled with the image's mean colour (occlusion: Zeiler and Fergus 2014,
        arXiv 1311.2901); negative where the probability rises. `seen` is the image as the model
        sees it.
        """
        with service.repository.use(model, version) as served:
            async with service.bodies.read(request) as body:
                files = await _files(request, body, service.settings)
                if len(files) != 1:
                    raise RequestError(400, f"one image is explained at a time; got {len(files)}")
                picture, answers = await while_connected(
                    request,
                    _explanation(service, served, files[0]),
                    service.settings.request_seconds,
                )
        best = int(answers[0].argmax())
        falls = answers[0, best] - answers[1:, best]
        return {
            "model": served.name,
            "version": str(served.version),
            "class_name": served.engine.class_names[best],
            "probability": float(answers[0, best]),
            "map": falls.reshape(_STEPS, _STEPS).round(6).tolist(),
            "seen": _data_url(picture.pixels),
        }

    return router


def _result(
    answer: Float32Array, model: ServedModel, top: int | None, reject_below: float
) -> dict[str, Any]:
    order = np.argsort(-answer, kind="stable")
    names = model.engine.class_names
    return {
        "class_name": names[order[0]],
        "probability": float(answer[order[0]]),
        "rejected": bool(answer[order[0]] < reject_below),
        "probabilities": {names[index]: float(answer[index]) for index in order[:top]},
    }


async def _answer(
    service: Service, model: ServedModel, files: list[File]
) -> tuple[list[Picture | str], Float32Array]:
    """Each image or the error of its file, and the probabilities of the readable ones."""
    pictures = await service.pictures.read(files, model.engine.image_shape)
    readable = [picture.pixels for picture in pictures if isinstance(picture, Picture)]
    if not readable:
        raise RequestError(400, str(pictures[0]))
    return pictures, await service.predict(model, np.stack(readable))


async def _explanation(
    service: Service, model: ServedModel, file: File
) -> tuple[Picture, Float32Array]:
    """An image, and its probabilities unoccluded and with each position occluded."""
    (picture,) = await service.pictures.read([file], model.engine.image_shape)
    if isinstance(picture, str):
        raise RequestError(400, picture)
    return picture, await service.predict(model, _occluded(picture.pixels))


async def _files(request: Request, body: bytearray, settings: Settings) -> list[File]:
    """The files of a form, with names that are safe to show.

    Raises:
        RequestError: the body is not a form, or has no files or too many.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise RequestError(
            415, "send the images as multipart/form-data, for example curl -F files=@cat.png"
        )
    files = await asyncio.to_thread(read_files, content_type, body, settings.images)
    if not files:
        raise RequestError(400, "the form has no file; send one: curl -F files=@cat.png")
    return [File(_shortened(file.name), file.content) for file in files]


def _shortened(name: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return shown if len(shown) <= 100 else f"{shown[:99]}…"


def _occluded(image: UInt8Array) -> UInt8Array:
    """The image, followed by a copy for each occluded position."""
    height, width, _ = image.shape
    color = image.reshape(-1, image.shape[-1]).mean(axis=0).round().astype(np.uint8)
    images = np.repeat(image[None], 1 + _STEPS**2, axis=0)
    tops = np.linspace(0, height - height / _COVER, _STEPS).round().astype(int)
    lefts = np.linspace(0, width - width / _COVER, _STEPS).round().astype(int)
    high, wide = max(1, height // _COVER), max(1, width // _COVER)
    places = [(top, left) for top in tops for left in lefts]
    for covered, (top, left) in zip(images[1:], places, strict=True):
        covered[top : top + high, left : left + wide] = color
    return images


def _data_url(image: UInt8Array) -> str:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
