"""Dynamic batching: requests that come at the same time are computed together."""

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
    """What a model was asked since it was loaded.

    Attributes:
        requests: that were answered.
        failed: requests whose batch the model could not compute.
        images: that were answered.
        batches: that were computed.
        waited: seconds that requests waited for their batch, added up.
        computed: seconds that their batches took, added up.
        last: when the last batch was done, as `time.time` gives it; 0 before the first.
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
    """A bounded queue before a model, which is asked by one thread, a batch at a time.

    To be made, used and closed within one event loop.

    Args:
        predict: from uint8 images (n, height, width, channels) to probabilities (n, classes).
        batch_images: how many images a batch holds at most; a larger request is a batch.
        batch_seconds: how long the first image waits for others.
        queue_images: how many images may wait or be computed; what comes after them is refused.
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
        """The probabilities of some images, when their turn has come.

        Whoever stops waiting leaves the queue: what was not begun is not computed.

        Raises:
            RequestError: the queue is full, or the model is being unloaded.
        """
        if self._closed:
            raise RequestError(503, "the model is being unloaded; try again later", 1)
        if self.images + len(images) > self._queue_images:
            raise RequestError(
                503,
                f"{self.images} images are waiting already; try again later",
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
        """Answer what waits, refuse what comes, and let the thread go."""
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
        """The next batch: in the order of arrival, without those that nobody waits for."""
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
