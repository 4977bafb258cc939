"""The queue in front of a model: every request gets its own answer, and none waits forever."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from thumbnet.data.stored import UInt8Array
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.batching import Batcher
from thumbnet.serving.gate import Gate
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.problems import RequestError
from thumbnet.serving.settings import Settings


def _echo(images: UInt8Array) -> Float32Array:
    return images.reshape(len(images), -1)[:, :1].astype(np.float32)


def _numbered(*values: int) -> UInt8Array:
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


def _with_batcher(
    use: Callable[[Batcher], Awaitable[Any]],
    predict: Callable[[UInt8Array], Float32Array] = _echo,
    **settings_: Any,
) -> Any:
    async def main() -> Any:
        values = {"batch_images": 8, "batch_seconds": 0.001, "queue_images": 100} | settings_
        batcher = Batcher(predict, **values)
        try:
            return await use(batcher)
        finally:
            await batcher.close()

    return asyncio.run(main())


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=12), most=st.integers(1, 16))
def test_each_request_gets_its_own_answer_in_bounded_batches(sizes: list[int], most: int) -> None:
    batches: list[int] = []
    requests = [_numbered(*range(position, position + n)) for position, n in enumerate(sizes)]

    async def ask(batcher: Batcher) -> list[Float32Array]:
        return await asyncio.gather(*(batcher.predict(images) for images in requests))

    answers = _with_batcher(ask, batch_images=most, queue_images=1_000, observe=batches.append)
    for images, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer, _echo(images))
    assert sum(batches) == sum(sizes)
    assert all(size <= max(most, *sizes) for size in batches)


def test_requests_at_the_same_time_are_one_batch() -> None:
    batches: list[int] = []

    async def ask(batcher: Batcher) -> None:
        await asyncio.gather(*(batcher.predict(_numbered(value)) for value in range(6)))

    _with_batcher(ask, batch_seconds=0.05, observe=batches.append)
    assert batches == [6]


def test_a_full_queue_refuses_and_goes_on() -> None:
    release = threading.Event()

    def slow(images: UInt8Array) -> Float32Array:
        release.wait(10)
        return _echo(images)

    async def ask(batcher: Batcher) -> Float32Array:
        taken = [asyncio.create_task(batcher.predict(_numbered(1, 2, 3))) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(RequestError, match="9 images are already waiting") as refused:
            await batcher.predict(_numbered(4, 5))
        assert refused.value.status == 503
        assert refused.value.retry_after is not None
        release.set()
        await asyncio.gather(*taken)
        return await batcher.predict(_numbered(4, 5))

    answer = _with_batcher(ask, slow, queue_images=10, batch_images=3)
    np.testing.assert_array_equal(answer.ravel(), [4, 5])


def test_cancelled_requests_are_not_computed() -> None:
    seen: list[int] = []

    def slow(images: UInt8Array) -> Float32Array:
        time.sleep(0.05)
        seen.extend(images.ravel().tolist())
        return _echo(images)

    async def ask(batcher: Batcher) -> None:
        tasks = [asyncio.create_task(batcher.predict(_numbered(value))) for value in range(4)]
        await asyncio.sleep(0.02)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert batcher.images == 0

    _with_batcher(ask, slow, batch_images=1, batch_seconds=0)
    assert seen == [0, 1, 3]


def test_excess_requests_are_refused_and_those_in_progress_answered() -> None:
    release = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await PlainTextResponse("done")(scope, receive, send)

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(Gate(slow, Metrics(), Settings(requests=2)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            taken = [asyncio.create_task(client.get("/")) for _ in range(2)]
            await asyncio.sleep(0.05)
            refused = await client.get("/")
            release.set()
            return [refused, *await asyncio.gather(*taken), await client.get("/")]

    refused, *answered = asyncio.run(main())
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == "1"
    assert "too many requests" in refused.json()["error"]
    assert [answer.text for answer in answered] == ["done"] * 3


def test_a_failed_batch_fails_only_its_own_requests() -> None:
    def failing(images: UInt8Array) -> Float32Array:
        if images.ravel()[0] == 13:
            raise ValueError("thirteen")
        return _echo(images)

    async def ask(batcher: Batcher) -> None:
        with pytest.raises(ValueError, match="thirteen"):
            await batcher.predict(_numbered(13))
        assert (await batcher.predict(_numbered(14))).ravel() == [14]

    _with_batcher(ask, failing)


def test_closing_answers_accepted_requests_and_refuses_new_ones() -> None:
    def slow(images: UInt8Array) -> Float32Array:
        time.sleep(0.02)
        return _echo(images)

    async def ask(batcher: Batcher) -> list[Float32Array]:
        tasks = [asyncio.create_task(batcher.predict(_numbered(value))) for value in range(5)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="unloaded"):
            await batcher.predict(_numbered(9))
        await closing
        return await asyncio.gather(*tasks)

    answers = _with_batcher(ask, slow, batch_images=1)
    assert [int(answer[0, 0]) for answer in answers] == [0, 1, 2, 3, 4]
