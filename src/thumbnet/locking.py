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
"""Suffix of the file next to a lock file that serves as the lock if there is no `flock`."""

# The errors of `flock` on a network file system without a lock service. (On ENOSYS, filelock
# itself falls back to a lock that consists in the existence of a file.)
_WITHOUT_FLOCK = (errno.ENOLCK, errno.EOPNOTSUPP)


def acquire_lock(path: Path, wait: bool = True) -> "BaseFileLock":
    """Hold a lock until its `release` is called, nothing refers to it, or this process ends.

    Without `flock`, a file next to `path` serves as the lock. A killed process leaves it behind;
    the next process on the same machine removes it, but on another machine the user must.

    Args:
        path: the lock file; its directory exists.
        wait: whether to wait for another process that holds it.

    Raises:
        filelock.Timeout: another process holds it; `lock_file` is the file that it holds.
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
