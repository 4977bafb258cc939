"""Decodes image files in threads, within a limit of pixels, while a request waits for them."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from thumbnet.data.formats import WEB_FORMATS
from thumbnet.data.images import fit_image, open_picture, pixels_to_decode
from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError
from thumbnet.serving.multipart import File
from thumbnet.serving.problems import RequestError
from thumbnet.serving.settings import Settings


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image as the model sees it."""

    name: str
    pixels: UInt8Array


@dataclass(frozen=True, eq=False)
class _Job:
    file: File
    shape: tuple[int, int, int]
    pixels: int
    answer: "asyncio.Future[Picture | str]"


class Pictures:
    """A bounded queue of images to decode, measured in pixels; close it after use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="pictures")
        self._queue: deque[_Job] = deque()
        self._waiting = 0
        self._decoding = 0

    async def read(self, files: Sequence[File], shape: tuple[int, int, int]) -> list[Picture | str]:
        """Each file as pixels of that shape, or a sentence on why it cannot be read.

        A cancelled caller leaves the queue: images whose turn has not come are not decoded.

        Raises:
            RequestError: the images have too many pixels in total, or too many are waiting.
        """
        sizes = await asyncio.to_thread(
            lambda: [pixels_to_decode(file.content, shape[:2], WEB_FORMATS) for file in files]
        )
        # A single file that is too large is refused without decoding.
        pixels = [size if size <= self._settings.pixels else 0 for size in sizes]
        total, most = sum(pixels), self._settings.queue_pixels
        if total > most:
            raise RequestError(
                413,
                f"the images have {total:,} pixels in total, and a request can have {most:,}; "
                "send fewer or smaller ones",
            )
        if self._waiting + total > most:
            raise RequestError(503, "too many images are waiting; try again later", 1)
        self._waiting += total
        loop = asyncio.get_running_loop()
        jobs = [
            _Job(file, shape, each, loop.create_future())
            for file, each in zip(files, pixels, strict=True)
        ]
        self._queue.extend(jobs)
        self._start_queued()
        try:
            return await asyncio.gather(*(job.answer for job in jobs))
        finally:
            self._waiting -= total
            for job in jobs:
                job.answer.cancel()
            # A job that is left in the queue would keep the body of its request.
            self._queue = deque(job for job in self._queue if not job.answer.done())

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _start_queued(self) -> None:
        """Start decoding queued images while the pixel limit allows."""
        while self._queue and (
            not self._decoding or self._decoding + self._queue[0].pixels <= self._settings.pixels
        ):
            job = self._queue.popleft()
            if not job.answer.done():
                self._decoding += job.pixels
                work = asyncio.get_running_loop().run_in_executor(self._threads, self._read, job)
                work.add_done_callback(partial(self._finish, job))

    def _finish(self, job: _Job, work: "asyncio.Future[Picture | str]") -> None:
        self._decoding -= job.pixels
        if not job.answer.done():
            if error := work.exception():
                job.answer.set_exception(error)
            else:
                job.answer.set_result(work.result())
        self._start_queued()

    def _read(self, job: _Job) -> Picture | str:
        if job.answer.done():
            return "the request was cancelled"
        try:
            picture = open_picture(
                bytes(job.file.content),
                job.file.name,
                self._settings.pixels,
                needed=job.shape[:2],
                formats=WEB_FORMATS,
            )
            return Picture(job.file.name, fit_image(picture.image, job.shape))
        except InputError as error:
            return str(error)
