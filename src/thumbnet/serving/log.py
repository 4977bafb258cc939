"""The service's log: one line of JSON for each request and each other log record."""

import contextlib
import json
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TextIO

from thumbnet.streams import send_nowhere

LOGGER = logging.getLogger("thumbnet.serving")
_SECONDS = 0.05
_MOST_LINES = 10_000


class LineWriter(logging.Handler):
    """Writes lines in a separate thread, so that a blocked reader does not block the service.

    When 10,000 lines are waiting, further ones are counted and dropped.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a line for the thread."""
        if len(self._lines) < _MOST_LINES:
            self._lines.append(_line(record))
        else:
            self._dropped += 1

    def close(self) -> None:
        """Write the remaining lines, unless the reader is blocked."""
        self._ended.set()
        self._thread.join(1)
        if self._thread.is_alive():
            # Anything else that is written to the stream, even at exit, would wait for the reader.
            send_nowhere(self._stream.fileno())
        super().close()

    def _work(self) -> None:
        while True:
            ended = self._ended.wait(_SECONDS)
            while self._lines:
                self._write("\n".join(self._lines.popleft() for _ in range(len(self._lines))))
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self._write(json.dumps({"time": _now(), "lines_dropped": dropped}))
            if ended:
                return

    def _write(self, text: str) -> None:
        # Not through the stream, whose lock the thread would hold while the reader is blocked, and
        # for which Python would wait at exit.
        rest = f"{text}\n".encode()
        with contextlib.suppress(OSError, ValueError):  # standard error was closed
            while rest:
                rest = rest[os.write(self._stream.fileno(), rest) :]


@contextmanager
def logging_to_standard_error() -> Iterator[None]:
    """Log JSON lines to standard error; from other packages, only warnings and errors."""
    writer = LineWriter(sys.stderr)
    root = logging.getLogger()
    root.addHandler(writer)
    LOGGER.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.removeHandler(writer)
        writer.close()


def _line(record: logging.LogRecord) -> str:
    if isinstance(record.msg, dict):
        values = {"time": _now(), **record.msg}
    else:
        values = {
            "time": _now(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
    if record.exc_info:
        values["traceback"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(values)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
