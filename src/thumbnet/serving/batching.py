"""Dynamic batching: requests that arrive at the same time are computed together."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from thumbnet.data.stored import UInt8Array
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.problems import RequestError


@dataclass(eq=False)
class Counts:
    """The work of a model since it was loaded.

    Attributes:
        requests: requests answered.
        failed: requests whose batch the model could not compute.
        images: images answered.
        batches: batches computed.
        waited: total seconds that requests waited for their batch.
        computed: total seconds that computing took, summed over requests.
        last: Unix time at which the last batch was finished; 0 before the first.
    """

    requests: int = 0
    failed: int = 0
    images: int = 0
    batches: int = 0
    waited: float = 0.0
    computed: float = 0.0
    last: float = 0.0


@dataclass(frozen=True, eq=False)
class _Waiting:
    images: UInt8Array
    answer: "asyncio.Future[Float32Array]"
    since: float


class Batcher:
    """A bounded queue in front of a model, which one thread calls, one batch at a time.

    Create, use and close it within one event loop.

    Args:
        predict: from uint8 images (n, height, width, channels) to probabilities (n, classes).
        batch_images: maximum number of images in a batch; a larger request is a batch of its own.
        batch_seconds: how long the first image waits for others.
        queue_images: how many images may be waiting or in computation; any more are refused.
        observe: called with the size of each batch.
    """

    def __init__(
        self,
        predict: Callable[[UInt8Array], Float32Array],
        batch_images: int,
        batch_seconds: float,
        queue_images: int,
        observe: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._predict = predict
        self._batch_images = batch_images
        self._batch_seconds = batch_seconds
        self._queue_images = queue_images
        self._observe = observe
        self._queue: deque[_Waiting] = deque()
        self._arrived = asyncio.Event()
        self._closed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._seconds_per_image = 0.0
        self.images = 0
        self.counts = Counts()
        self._worker = asyncio.create_task(self._work())

    async def predict(self, images: UInt8Array) -> Float32Array:
        """The class probabilities of images, once their batch is computed.

        A cancelled caller leaves the queue: images whose batch has not started are not computed.

        Raises:
            RequestError: the queue is full, or the model is being unloaded.
        """
        if self._closed:
            raise RequestError(503, "the model is being unloaded; try again later", 1)
        if self.images + len(images) > self._queue_images:
            raise RequestError(
                503,
                f"{self.images} images are already waiting; try again later",
                max(1, math.ceil(self.images * self._seconds_per_image)),
            )
        waiting = _Waiting(images, asyncio.get_running_loop().create_future(), time.perf_counter())
        self._queue.append(waiting)
        self.images += len(images)
        self._arrived.set()
        try:
            return await waiting.answer
        finally:
            self.images -= len(images)

    async def close(self) -> None:
        """Answer the waiting requests, refuse new ones, and end the thread."""
        self._closed = True
        self._arrived.set()
        await self._worker
        self._thread.shutdown(wait=True)

    async def _work(self) -> None:
        while self._queue or not self._closed:
            await self._arrived.wait()
            if not self._closed and self._batch_seconds and self.images < self._batch_images:
                await asyncio.sleep(self._batch_seconds)
            if batch := self._take():
                await self._answer(batch)
            if not self._queue:
                self._arrived.clear()
                if self._closed:
                    return

    def _take(self) -> list[_Waiting]:
        """The next batch: requests in order of arrival, without the cancelled ones."""
        batch: list[_Waiting] = []
        room = self._batch_images
        while self._queue and (not batch or len(self._queue[0].images) <= room):
            waiting = self._queue.popleft()
            if not waiting.answer.done():
                batch.append(waiting)
                room -= len(waiting.images)
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        parts = [waiting.images for waiting in batch]
        images = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._observe(len(images))
        started = time.perf_counter()
        try:
            answers = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._predict, images
            )
        except Exception as error:
            self.counts.failed += len(batch)
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            return
        seconds = time.perf_counter() - started
        self._seconds_per_image += 0.2 * (seconds / len(images) - self._seconds_per_image)
        self.counts.requests += len(batch)
        self.counts.images += len(images)
        self.counts.batches += 1
        self.counts.waited += sum(started - waiting.since for waiting in batch)
        self.counts.computed += seconds * len(batch)
        self.counts.last = time.time()
        ends = np.cumsum([len(part) for part in parts])
        for waiting, answer in zip(batch, np.split(answers, ends[:-1]), strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)
