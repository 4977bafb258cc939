"""Locks between processes, on file systems with and without `flock`."""

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

HELD_SUFFIX = ".held"
"""Of the file beside a lock file that stands for the lock where there is no `flock`."""

# What `flock` answers where a network file system has no lock service. (On ENOSYS, filelock itself
# turns to a lock that is held by the existence of a file.)
_WITHOUT_FLOCK = (errno.ENOLCK, errno.EOPNOTSUPP)


def acquire_lock(path: Path, wait: bool = True) -> "BaseFileLock":
    """Hold a lock until its `release` is called, nothing refers to it, or this process ends.

    Without `flock`, a file beside `path` stands for the lock. A process that was killed leaves it,
    and the next process on the same machine removes it; on another machine, its owner must.

    Args:
        path: the lock file; its directory exists.
        wait: whether to wait for another process that holds it.

    Raises:
        filelock.Timeout: another process holds it. Its `lock_file` is the file that says so.
        OSError: the directory cannot be written.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    seconds = -1 if wait else 0
    lock: BaseFileLock = FileLock(path)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "flock not supported", UserWarning)
            lock.acquire(timeout=seconds)
    except Timeout:
        raise
    except OSError as error:
        if error.errno not in _WITHOUT_FLOCK:
            raise
        lock = SoftFileLock(f"{path}{HELD_SUFFIX}")
        lock.acquire(timeout=seconds)
    return lock


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for a lock and hold it; see `acquire_lock`."""
    lock = acquire_lock(path)
    try:
        yield
    finally:
        lock.release()
