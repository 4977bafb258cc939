"""Starts and stops the service."""

import asyncio
import ctypes
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import uvicorn

from thumbnet.data.images import silent_pillow
from thumbnet.errors import InputError
from thumbnet.serving.app import create_app
from thumbnet.serving.examples import Example
from thumbnet.serving.log import logging_to_standard_error
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.models import Repository
from thumbnet.serving.problems import RequestError
from thumbnet.serving.protocol import protocol_with
from thumbnet.serving.service import Service
from thumbnet.serving.settings import Settings

# From glibc's malloc.h.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_LARGE_BLOCK_BYTES = 2**22


def serve(
    runs: Sequence[tuple[str, Path]],
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 8000,
    directory: Path | None = None,
    engine_name: str | None = None,
    started: Callable[[list[str], str], None] = lambda names, address: None,
    examples: Mapping[str, Sequence[Example]] = MappingProxyType({}),
) -> None:
    """Serve runs over HTTP until SIGINT or SIGTERM, then finish the accepted requests.

    Args:
        runs: names and directories of the models to load at start-up.
        settings: limits and access control.
        host: the address to listen on.
        port: 0 to use a free one.
        directory: see `Repository`.
        engine_name: see `thumbnet.engines.open_engine`.
        started: called when the models are loaded, with their titles and the service's URL.
        examples: of models, by name, the images that the page offers with their true class.

    Raises:
        InputError: a run cannot be opened, or the service cannot listen on the address.
    """
    _return_freed_memory()
    with (
        _listening(host, port) as listener,
        silent_pillow(settings.pixels),
        logging_to_standard_error(),
    ):
        main = _serve(runs, settings, listener, directory, engine_name, started, examples)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(main)


async def _serve(
    runs: Sequence[tuple[str, Path]],
    settings: Settings,
    listener: socket.socket,
    directory: Path | None,
    engine_name: str | None,
    started: Callable[[list[str], str], None],
    examples: Mapping[str, Sequence[Example]],
) -> None:
    metrics = Metrics()
    repository = Repository(runs, settings, metrics, directory, engine_name)
    service = Service(settings, repository, metrics, examples)
    try:
        for name in repository.names:
            try:
                await repository.load(name)
            except RequestError as error:
                raise InputError(f"the model {name}: {error}") from error
        config = uvicorn.Config(
            create_app(service),
            http=protocol_with(settings),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.grace_seconds,
        )
        host, number = listener.getsockname()[:2]
        started(_titles(repository), f"http://{f'[{host}]' if ':' in host else host}:{number}")
        # When it has finished, Uvicorn passes the signal on to the previous handler.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        await uvicorn.Server(config).serve(sockets=[listener])
    finally:
        await service.close()


def _titles(repository: Repository) -> list[str]:
    return [
        f"{model.name} (version {model.version}, {model.engine.name})"
        for model in repository.loaded()
    ]


def _return_freed_memory() -> None:
    """Make glibc give large blocks back to the system as soon as they are freed.

    By default it keeps more and larger ones the longer a process runs, in an arena for each thread,
    so that memory grows far beyond what the limits admit.
    """
    with suppress(OSError, AttributeError):  # another system or C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        mallopt(_M_ARENA_MAX, 2)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None)  # Python's own text repeats the address
        reason = os.strerror(number) if number and number > 0 else error
        raise InputError(
            f"cannot listen on {host}, port {port}: {reason}; choose others with --host and --port"
        ) from error
    with listener:
        yield listener


def _loop_factory() -> Callable[[], Any] | None:
    try:
        import uvloop
    except ImportError:  # not available on every system
        return None
    factory: Callable[[], Any] = uvloop.new_event_loop
    return factory
