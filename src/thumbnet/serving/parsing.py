"""Parses the JSON of requests without blocking the service or exhausting its memory.

Python's parser holds the interpreter lock: 16 MiB of JSON would block all other requests for a
second, and `[{},{},…]` takes 30 times its size in memory. Short requests are parsed directly, the
others in a child process, one after another.
"""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

from thumbnet.isolated import ChildFailedError, Isolated
from thumbnet.serving.problems import RequestError

_Result = TypeVar("_Result")
# Parsing this takes two milliseconds.
_SHORT_BYTES = 65_536
# JSON of 1,024 images of 32 × 32 × 3 takes 250 MiB.
_MEMORY_BYTES = 320 * 2**20


class Parser:
    """Calls parsing functions; close it after use."""

    def __init__(self) -> None:
        self._isolated = Isolated(_MEMORY_BYTES)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parser")
        # The thread's own queue would keep the bodies of cancelled callers.
        self._free = asyncio.Lock()

    async def parse(
        self, function: Callable[..., _Result], body: bytes | bytearray, *arguments: Any
    ) -> _Result:
        """The result of a function for a body; a cancelled caller leaves the queue.

        Args:
            function: a module-level function that needs none of the service's objects.
            body: its first argument.
            arguments: its other arguments.

        Raises:
            RequestError: raised by the function, or it needs too much memory.
        """
        if len(body) <= _SHORT_BYTES:
            return function(body, *arguments)
        await self._free.acquire()
        work = asyncio.get_running_loop().run_in_executor(
            self._thread, self._isolated.call, function, body, *arguments
        )
        work.add_done_callback(self._finish)
        try:
            # The thread goes on with a cancelled call, so the next one waits for its end.
            return await asyncio.shield(work)
        except (MemoryError, ChildFailedError) as error:
            raise RequestError(
                413, "the JSON of the request takes too much memory; send fewer images at a time"
            ) from error

    def _finish(self, work: "asyncio.Future[Any]") -> None:
        self._free.release()
        if not work.cancelled():
            work.exception()  # nobody else asks for that of a cancelled call

    def close(self) -> None:
        """End the process and the thread."""
        self._thread.shutdown(cancel_futures=True)
        self._isolated.close()


def json_object(body: bytes | bytearray) -> dict[str, Any]:
    """A JSON object, from UTF-8.

    Raises:
        RequestError: the body is something else.
    """
    try:
        found = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else error
        raise RequestError(400, f"the request is not JSON: {reason}") from error
    if not isinstance(found, dict):
        raise RequestError(400, f"the request must be a JSON object, not a {type(found).__name__}")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
