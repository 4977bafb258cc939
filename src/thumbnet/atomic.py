"""Writing files so that a reader, or a crash, never meets half of one."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from thumbnet.errors import JobError

_MARK = ".writing-"


@contextmanager
def replacing_path(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to, and rename it to `path` when all went well.

    Raises:
        JobError: the directory cannot be written, or the disk is full. The old file is kept.
    """
    # The suffix stays last: Keras and Matplotlib choose a format by it.
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=f"{_MARK}{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(descriptor)
        beside = Path(name)
        yield beside
        _force_to_disk(beside)
        # mkstemp makes files that only their owner can read; results are meant to be shared.
        beside.chmod(0o666 & ~_umask())
        beside.replace(path)
        _force_to_disk(path.parent)
    except OSError as error:
        raise JobError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if beside is not None:
            beside.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `path` for writing bytes, and rename it to `path` when all went well."""
    with replacing_path(path) as beside, open(beside, "wb") as file:
        yield file


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`; what stands in it for bytes that are no text is escaped."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values` as indented JSON to `path`; NaN, which is no JSON, is refused."""
    write_text(path, json.dumps(values, indent=2, allow_nan=False) + "\n")


def remove_leftovers(directory: Path, stem: str = "") -> None:
    """Remove what processes that were killed left half-written in `directory`.

    To be called where no other process writes there files whose names begin with `stem`.
    """
    for beside in directory.glob(f"{_MARK}{stem}*"):
        beside.unlink(missing_ok=True)


def _force_to_disk(path: Path) -> None:
    """Have a file's content, or a directory's names, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
