"""A parent process that says what ended its child where the child could say nothing.

JAX ends a process from within C++, with a page of its own words, as soon as another one of the
same training is lost or never comes; no exception reaches Python. So the work is done in a child
process, which tells its parent beforehand what to say in that case.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

from thumbnet.errors import ThumbnetError

LastWords = Callable[[str], None]

# How JAX begins what it says when it ends a process.
_ENDED_BY_JAX = b"distributed service detected fatal errors"
_KEPT_BYTES = 20_000


@contextmanager
def supervised(way_on: str) -> Iterator[LastWords]:
    """Have the body run in a child process; the parent leaves the program with its exit code.

    To be entered before there are threads. SIGINT and SIGTERM are passed on to the child, which
    does not outlive its parent. What C++ prints in the child is kept from the user's screen, and
    shown if it ends in a way that nobody expects.

    Args:
        way_on: what to do where the child was killed, said after how.

    Yields:
        A function that takes the sentence to say should the child be ended from here on; empty
        for none. Errors of Thumbnet are said in any case.
    """
    words_out, words_in = os.pipe()
    native_out, native_in = os.pipe()
    lifeline_out, lifeline_in = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        for end in (words_in, native_in, lifeline_out):
            os.close(end)
        sys.exit(_follow(child, native_out, words_out, way_on))
    os.setpgid(0, 0)  # Ctrl-C reaches the parent alone, which passes it on, once
    for end in (words_out, native_out, lifeline_in):
        os.close(end)
    threading.Thread(target=_end_with_parent, args=(lifeline_out,), daemon=True).start()
    sys.stdout, sys.stderr = _moved(sys.stdout, 1, native_in), _moved(sys.stderr, 2, native_in)

    def say_if_ended(sentence: str) -> None:
        os.write(words_in, f"{sentence}\0".encode())

    try:
        yield say_if_ended
    except (ThumbnetError, KeyboardInterrupt) as error:
        say_if_ended(str(error) or "interrupted")
        sys.stdout.flush()
        # At once: at a usual exit JAX would wait for the others, who wait for this one.
        os._exit(getattr(error, "exit_code", 1))
    finally:
        say_if_ended("")


def _follow(child: int, native: int, words: int, way_on: str) -> int:
    """Wait for the child to end and say what it could not; the exit code."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(child, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    printed = b""
    while received := os.read(native, 65_536):
        printed = (printed + received)[-_KEPT_BYTES:]
    _, status = os.waitpid(child, 0)
    with open(words, encoding="utf-8") as pipe:
        *_, last, _ = ["", *pipe.read().split("\0")]
    code = os.waitstatus_to_exitcode(status)
    if code < 0 and _ENDED_BY_JAX not in printed:
        sys.stderr.write(printed.decode(errors="replace"))
        cause = signal.Signals(-code).name
        memory = ", as by systems that run out of memory" if cause == "SIGKILL" else ""
        last = f"this process was ended by {cause}{memory}; {way_on}"
    if last:
        sys.stderr.write(f"thumbnet: error: {last}\n")
    return code if code >= 0 else 1


def _end_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # nothing ever comes but the end, when the parent is gone
    os._exit(1)


def _moved(stream: TextIO, number: int, native: int) -> TextIO:
    """The stream on a descriptor of its own, while what C++ prints to `number` goes elsewhere."""
    own = os.dup(number)
    os.dup2(native, number)
    return open(own, "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
