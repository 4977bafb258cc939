"""Atomic file writes: a reader never sees a half-written file, even after a crash."""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from thumbnet.errors import StorageError

_MARK = ".writing-"
# JSON strings contain no line breaks, so this matches only lists.
_NUMBERS = re.compile(r"\[\n\s+[-+.\deE]+(?:,\n\s+[-+.\deE]+)*\n\s+\]")


@contextmanager
def replacing_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the directory of `path`; on success, rename it to `path`.

    Raises:
        StorageError: the directory is not writable, or the disk is full. The old file is kept.
    """
    # The temporary name keeps the suffix, by which Keras and Matplotlib choose a format.
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(
            prefix=f"{_MARK}{path.stem}-", suffix=path.suffix, dir=path.parent
        )
        os.close(descriptor)
        temporary = Path(name)
        yield temporary
        _sync_to_disk(temporary)
        # mkstemp creates files that only their owner can read; apply the usual umask instead.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _sync_to_disk(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file for writing bytes; on success, rename it to `path`."""
    with replacing_path(path) as temporary, open(temporary, "wb") as file:
        yield file


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text to `path`; surrogates, which stand for undecodable bytes, are escaped."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values` as indented JSON to `path`; NaN, which JSON does not allow, is refused.

    A list of numbers is written on one line, so that the confusion matrix of a thousand classes
    stays small.
    """
    text = json.dumps(values, indent=2, allow_nan=False)
    write_text(path, _NUMBERS.sub(lambda found: "".join(found[0].split()), text) + "\n")


def remove_leftovers(directory: Path, stem: str = "") -> None:
    """Remove temporary files that killed processes left in `directory`.

    Call this only if no other process is writing files there whose names start with `stem`.
    """
    for temporary in directory.glob(f"{_MARK}{stem}*"):
        temporary.unlink(missing_ok=True)


def _sync_to_disk(path: Path) -> None:
    """Make a file's content, or a directory's entries, survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
