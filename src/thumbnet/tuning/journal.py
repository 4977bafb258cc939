"""The journal of a search: lines of JSON that are written completely or not at all."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file

from thumbnet.errors import StorageError

_BLOCK_BYTES = 2**16


class Journal(JournalFileBackend):
    """Optuna's journal, with lines that are written completely or not at all.

    Optuna's own backend appends to a line that was truncated by a full disk or a lost connection,
    which makes the file unreadable.

    Raises:
        StorageError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            super().__init__(str(path))
            self.append_logs([])  # removes an incomplete last line
        except OSError as error:
            raise self._failed(error) from error

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Write operations after the last complete line."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        try:
            with get_lock_file(self._lock), open(self._path, "r+b", buffering=0) as file:
                end = _end_of_lines(file)
                file.truncate(end)
                file.seek(end)
                try:
                    written = file.write(lines.encode())
                    if written < len(lines.encode()):
                        file.write(lines.encode()[written:])  # raises the reason of the short write
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):
                        file.truncate(end)
                    raise
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        return StorageError(f"cannot write {self._path}: {error.strerror or error}")


def _end_of_lines(file: IO[bytes]) -> int:
    """The position of the end of the last complete line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
