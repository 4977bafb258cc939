"""Loading and unloading models while requests are in progress."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from thumbnet.data.stored import UInt8Array
from thumbnet.engines import Engine, open_engine
from thumbnet.errors import InputError
from thumbnet.serving import models
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.model import bundled_run
from thumbnet.serving.models import Repository
from thumbnet.serving.problems import RequestError
from thumbnet.serving.settings import Settings

_Result = TypeVar("_Result")


def _with_repository(use: Callable[[Repository], Awaitable[_Result]], **settings: Any) -> _Result:
    async def main() -> _Result:
        runs = [("a", bundled_run().path), ("b", bundled_run().path)]
        repository = Repository(runs, Settings(**settings), Metrics())
        await repository.load("a")
        try:
            return await use(repository)
        finally:
            await repository.close()

    return asyncio.run(main())


def test_a_request_accepted_before_a_reload_is_answered(images: UInt8Array) -> None:
    async def use(repository: Repository) -> None:
        with repository.use("a") as model:
            await repository.load("a")
            assert repository.find("a") is not model
            answers = await model.batcher.predict(images[:3])
            await repository.unload("a")
            assert (await model.batcher.predict(images[:3])).shape == answers.shape == (3, 10)
        with pytest.raises(RequestError) as refused:
            repository.find("a")
        assert refused.value.status == 404

    _with_repository(use)


def test_a_model_that_hangs_does_not_block_loading_others(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(run: Any, name: str | None) -> Engine:
        release.wait(60)
        return open_engine(run, name)

    async def use(repository: Repository) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(models, "open_engine", hang)
            with pytest.raises(RequestError, match=r"not loaded within 0.1 s") as refused:
                await repository.load("b")
            assert refused.value.status == 503
        with contextlib.suppress(RequestError):  # it ends either way
            await repository.load("b")
        release.set()

    _with_repository(use, load_seconds=0.1)


@pytest.mark.parametrize(
    "message",
    ["cannot open /srv/private/a.tflite: no", "'/srv/private/x' and (/srv/private/y)", "at /srv/x"],
)
def test_errors_of_a_runtime_show_no_directories(
    monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    def fail(run: Any, name: str | None) -> Engine:
        raise InputError(f"{Path(run.path)}: {message}; 3/4 of it, https://example.org/a")

    async def use(repository: Repository) -> str:
        with monkeypatch.context() as patched:
            patched.setattr(models, "open_engine", fail)
            with pytest.raises(RequestError) as refused:
                await repository.load("b")
        return str(refused.value)

    said = _with_repository(use)
    assert "/srv" not in said
    assert str(bundled_run().path) not in said
    assert "3/4 of it" in said
