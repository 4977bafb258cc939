"""A parent process that reports why its child died when the child could not.

As soon as another process of the same training is lost or fails to join, JAX kills the process
from C++ with a page of log output; no Python exception is raised. So the work is done in a child
process, which gives its parent, in advance, the message to print in that case.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from thumbnet.errors import ThumbnetError, printable

SetMessage = Callable[[str], None]

# JAX's log output contains this when it kills a process.
_KILLED_BY_JAX = b"distributed service detected fatal errors"
_KEPT_BYTES = 20_000


@contextmanager
def supervised(resume_hint: str) -> Iterator[SetMessage]:
    """Run the body in a child process; the parent exits with the child's exit code.

    Enter this context before any thread is started. SIGINT and SIGTERM are forwarded to the child,
    which does not outlive its parent. Native (C++) output of the child is hidden, and shown only if
    the child ends unexpectedly.

    Args:
        resume_hint: what the user can do if the child is killed; the message ends with it.

    Yields:
        A function that sets the message to print if the child dies from now on; an empty message
        prints nothing. Errors of Thumbnet are printed in any case.
    """
    messages_out, messages_in = os.pipe()
    native_out, native_in = os.pipe()
    lifeline_out, lifeline_in = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        for end in (messages_in, native_in, lifeline_out):
            os.close(end)
        sys.exit(_follow(child, native_out, messages_out, resume_hint))
    os.setpgid(0, 0)  # Ctrl-C reaches only the parent, which forwards it once
    for end in (messages_out, native_out, lifeline_in):
        os.close(end)
    threading.Thread(target=_end_with_parent, args=(lifeline_out,), daemon=True).start()
    sys.stdout, sys.stderr = _moved(sys.stdout, 1, native_in), _moved(sys.stderr, 2, native_in)

    def set_message(message: str) -> None:
        os.write(messages_in, f"{message}\0".encode())

    try:
        yield set_message
    except (ThumbnetError, KeyboardInterrupt) as error:
        set_message(str(error) or "interrupted")
        sys.stdout.flush()
        # In a normal exit JAX would wait for the other processes, which wait for this one.
        os._exit(getattr(error, "exit_code", 1))
    finally:
        set_message("")


def _follow(child: int, native: int, messages: int, resume_hint: str) -> int:
    """Wait for the child, print its last message, and return its exit code."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    printed = b""
    while received := os.read(native, 65_536):
        printed = (printed + received)[-_KEPT_BYTES:]
    _, status = os.waitpid(child, 0)
    with open(messages, encoding="utf-8") as pipe:
        *_, last, _ = ["", *pipe.read().split("\0")]
    code = os.waitstatus_to_exitcode(status)
    if code < 0 and _KILLED_BY_JAX not in printed:
        sys.stderr.write(printable(printed.decode(errors="replace")))
        cause = signal.Signals(-code).name
        memory = ", perhaps because the system ran out of memory" if cause == "SIGKILL" else ""
        last = f"this process was killed by {cause}{memory}; {resume_hint}"
    if last:
        sys.stderr.write(f"thumbnet: error: {printable(last)}\n")
    return code if code >= 0 else 1


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # returns only at end of file, when the parent has exited
    os._exit(1)


def _moved(stream: TextIO, number: int, native: int) -> TextIO:
    """The Python stream on a new descriptor; native output to `number` is redirected."""
    own = os.dup(number)
    os.dup2(native, number)
    return open(own, "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
