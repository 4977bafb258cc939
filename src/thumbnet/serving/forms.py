"""Image files instead of tensors: what they show, and where the model looked."""

import asyncio
import base64
import io
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from PIL import Image
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from thumbnet.data.formats import WEB_FORMATS
from thumbnet.data.images import fit_image, open_picture
from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.description import ERRORS, files_body
from thumbnet.serving.models import ServedModel
from thumbnet.serving.problems import RequestError
from thumbnet.serving.service import Service
from thumbnet.serving.settings import Settings

# The square that is covered has a quarter of the picture's side and moves by an eighth.
_COVER, _STEPS = 4, 7
_File = tuple[str, bytes]


@dataclass(frozen=True, eq=False)
class _Picture:
    name: str
    pixels: UInt8Array


class Pictures:
    """Reads picture files, in threads of their own; to be closed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # A picture of 16 million pixels takes some 200 MB while it is decoded.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="pictures")

    async def read(
        self, files: Sequence[_File], shape: tuple[int, int, int]
    ) -> list[_Picture | str]:
        """Each file as pixels of that shape, or as the sentence that says why it cannot be."""
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(loop.run_in_executor(self._threads, self._read, *file, shape) for file in files)
        )

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(cancel_futures=True)

    def _read(self, name: str, content: bytes, shape: tuple[int, int, int]) -> _Picture | str:
        try:
            picture = open_picture(
                content, name, self._settings.pixels, needed=shape[:2], formats=WEB_FORMATS
            )
            return _Picture(name, fit_image(picture.image, shape))
        except InputError as error:
            return str(error)


def routes(service: Service, pictures: Pictures) -> APIRouter:
    """The addresses `/classify`, `/explain` and `/models`."""
    router = APIRouter(tags=["Pictures"], responses=ERRORS)

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """What is loaded."""
        return {
            "models": [
                {
                    "name": model.name,
                    "version": str(model.version),
                    "class_names": model.engine.class_names,
                    "image_shape": model.engine.image_shape,
                    **model.description(),
                    "reject_below": service.settings.reject_below,
                }
                for model in service.repository.loaded()
            ]
        }

    @router.post(
        "/classify", openapi_extra=files_body("files", True, "PNG, JPEG or WebP files of any size.")
    )
    async def classify(
        request: Request,
        model: Annotated[str | None, Query(description="By default, the first.")] = None,
        version: Annotated[str | None, Query(description="By default, the latest.")] = None,
        top: Annotated[int | None, Query(ge=1, description="So many classes.")] = None,
    ) -> dict[str, Any]:
        """What pictures show.

        A file that cannot be read gets an error among the results; if there is no other, the
        answer is 400.
        """
        served = service.repository.find(model, version)
        async with service.bodies.read(request) as body:
            files = await _files(request, body, service.settings)
            found = await pictures.read(files, served.engine.image_shape)
            readable = [picture.pixels for picture in found if isinstance(picture, _Picture)]
            if not readable:
                raise RequestError(400, str(found[0]))
            answers = iter(await service.answer(request, served, np.stack(readable)))
        reject_below = service.settings.reject_below
        return {
            "model": served.name,
            "version": str(served.version),
            **served.description(),
            "results": [
                {"file": name, "error": picture}
                if isinstance(picture, str)
                else {"file": name, **_result(next(answers), served, top, reject_below)}
                for (name, _), picture in zip(files, found, strict=True)
            ],
        }

    @router.post("/explain", openapi_extra=files_body("file", False, "One PNG, JPEG or WebP file."))
    async def explain(
        request: Request,
        model: Annotated[str | None, Query(description="By default, the first.")] = None,
        version: Annotated[str | None, Query(description="By default, the latest.")] = None,
    ) -> dict[str, Any]:
        """Where the model looked.

        `map` says by how much the probability of the most probable class falls when a square
        around each of 7 × 7 places is covered with the picture's mean colour (occlusion: Zeiler
        and Fergus 2014, arXiv 1311.2901); below 0 where it rises. `seen` is the picture as the
        model sees it.
        """
        served = service.repository.find(model, version)
        async with service.bodies.read(request) as body:
            files = await _files(request, body, service.settings)
            if len(files) != 1:
                raise RequestError(400, f"one picture is explained at a time; got {len(files)}")
            (picture,) = await pictures.read(files, served.engine.image_shape)
            if isinstance(picture, str):
                raise RequestError(400, picture)
            answers = await service.answer(request, served, _occluded(picture.pixels))
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


async def _files(request: Request, body: bytes, settings: Settings) -> list[_File]:
    """The files of a form: name and content of each.

    Raises:
        RequestError: the body is no such form, or holds none, or too many.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RequestError(
            415, "send the pictures as multipart/form-data, like curl -F files=@cat.png"
        )

    async def parts() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, parts(), max_files=settings.images, max_fields=settings.images
    )
    parser.spool_max_size = settings.body_bytes + 1  # never to the disk, which may be read-only
    try:
        form = await parser.parse()
    except (MultiPartException, UnicodeDecodeError, ValueError) as error:
        raise RequestError(400, f"the form cannot be read: {error}") from error
    files = []
    for _, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.append((_shortened(value.filename or ""), await value.read()))
    await form.close()
    if not files:
        raise RequestError(400, "the form holds no file; send one like curl -F files=@cat.png")
    return files


def _shortened(name: str) -> str:
    shown = "".join(character if character.isprintable() else "?" for character in name)
    return shown if len(shown) <= 100 else f"{shown[:99]}…"


def _occluded(image: UInt8Array) -> UInt8Array:
    """The image, and then once for each place that is covered."""
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
