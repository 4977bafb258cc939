"""Calls functions in a child process, which may crash, hang or run out of memory in our place.

Parsers of untrusted files and messages run here: JSON that expands to fifty times its size, and
runtimes that read models in C++.
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from thumbnet.errors import JobError

_Result = TypeVar("_Result")


class ChildFailedError(JobError):
    """The child process has crashed, or did not answer in time."""


class Isolated:
    """A child process that calls one function at a time; it starts with the first call.

    Not thread-safe.

    Args:
        memory_bytes: limit on its memory; None for no limit.
    """

    def __init__(self, memory_bytes: int | None = None) -> None:
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def call(
        self, function: Callable[..., _Result], *arguments: object, seconds: float | None = None
    ) -> _Result:
        """Call a function in the child process; returns its result or raises its exception.

        Args:
            function: a module-level function, pickled by its module and name.
            arguments: its arguments, which are pickled.
            seconds: time limit.

        Raises:
            ChildFailedError: the process crashed or took too long; the next call starts a new one.
            MemoryError: it needed more memory than the limit.
        """
        connection = self._started()
        try:
            connection.send((function, arguments))
            if not connection.poll(seconds):
                raise ChildFailedError(f"it did not end within {seconds:g} s")
            succeeded, result = connection.recv()
        except (EOFError, OSError) as error:
            raise ChildFailedError(f"the process ended {self._exit_reason()}") from error
        except ChildFailedError:
            self.close()
            raise
        if not succeeded:
            raise result
        returned: _Result = result
        return returned

    def close(self) -> None:
        """Kill the process."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._connection = self._process = None

    def _started(self) -> Connection:
        if self._connection is None:
            ours, theirs = socket.socketpair()
            with theirs:
                code = (
                    f"import sys; sys.path[:] = {sys.path!r}; "
                    f"from thumbnet.isolated import main; main({self._memory_bytes!r})"
                )
                self._process = subprocess.Popen(
                    [sys.executable, "-c", code],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            self._connection = Connection(ours.detach())
        return self._connection

    def _exit_reason(self) -> str:
        """A description of how the process ended; the process is then discarded."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        self.close()
        if code is None or code >= 0:
            return f"with exit code {code}"
        return f"by {signal.Signals(-code).name}"


def call_isolated(
    function: Callable[..., _Result],
    *arguments: object,
    seconds: float | None = None,
    memory_bytes: int | None = None,
) -> _Result:
    """`Isolated.call` in a process for this call only."""
    isolated = Isolated(memory_bytes)
    try:
        return isolated.call(function, *arguments, seconds=seconds)
    finally:
        isolated.close()


def main(memory_bytes: int | None) -> None:
    """The main loop of the child process, until its standard input is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal
    _prefer_as_oom_victim()
    if memory_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    connection = Connection(os.dup(0))
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            function, arguments = connection.recv()
            reply = _reply(function, arguments)
            del arguments
            connection.send_bytes(reply)


def _reply(function: Callable[..., object], arguments: tuple[object, ...]) -> bytes:
    try:
        return pickle.dumps((True, function(*arguments)))
    except MemoryError:
        return pickle.dumps((False, MemoryError()))
    except Exception as error:
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return pickle.dumps((False, error))


def _prefer_as_oom_victim() -> None:
    """Make the system kill this process rather than its parent when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
