"""The cache: a file of CIFAR-10 in the user's cache directory, verified on every read."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from thumbnet.atomic import remove_leftovers, replacing
from thumbnet.data.dataset import Dataset
from thumbnet.data.sources.cifar10 import Release, read_npz, write_npz
from thumbnet.data.sources.patience import Report
from thumbnet.errors import InputError, JobError
from thumbnet.locking import acquire_lock
from thumbnet.paths import expanded

FILE_NAME = "cifar10.npz"
SCRATCH_PREFIX = ".fetching-"


def default_cache_directory() -> Path:
    """The directory set in `THUMBNET_CACHE`, or else the system's cache directory for the user.

    Raises:
        InputError: the user has no home directory.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("THUMBNET_CACHE")
    try:
        return expanded(named) if named else user_cache_path("thumbnet")
    except RuntimeError as error:
        raise InputError(
            "cannot find the home directory for the cache; set the environment variable "
            "THUMBNET_CACHE to a directory"
        ) from error


def read_cache(directory: Path, release: Release) -> Dataset | None:
    """The dataset in the cache, if there is one.

    Raises:
        InputError: the file is damaged.
    """
    try:
        dataset, origin = read_npz(directory / FILE_NAME, release)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return replace(dataset, source=f"cache (first fetched from the {origin})", path=None)


def recall(directory: Path, release: Release, report: Report) -> Dataset | None:
    """The dataset in the cache if there is an intact one; damage is reported."""
    try:
        return read_cache(directory, release)
    except InputError as error:
        report(f"ignoring CIFAR-10 in the cache: {error}")
        return None


def keep(directory: Path, dataset: Dataset, report: Report) -> None:
    """Write a dataset to the cache; a full disk is only reported."""
    try:
        with replacing(directory / FILE_NAME) as file:
            write_npz(file, dataset)
    except JobError as error:
        report(f"CIFAR-10 could not be cached: {error}")


@contextmanager
def fetching(directory: Path, report: Report) -> Iterator[tuple[Path, bool]]:
    """Lock the cache during a download.

    Yields:
        The directory for the dataset, and whether this process had to wait for another. If the
        cache cannot be written, the directory is temporary.
    """
    from filelock import Timeout

    waited = False
    try:
        directory.mkdir(parents=True, exist_ok=True)
        place = directory / "fetching.lock"
        try:
            lock = acquire_lock(place, wait=False)
        except Timeout as error:
            report(f"another process is fetching CIFAR-10; waiting for it ({error.lock_file})")
            lock = acquire_lock(place)
            waited = True
    except OSError as error:
        report(f"the cache {directory} cannot be written ({error.strerror}); continuing without it")
        with TemporaryDirectory(prefix="thumbnet-") as temporary:
            yield Path(temporary), False
        return
    try:
        _remove_temporary_files(directory)
        yield directory, waited
    finally:
        lock.release()


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """A temporary directory; that of a killed process is removed by the next one."""
    with TemporaryDirectory(
        prefix=SCRATCH_PREFIX, dir=directory, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def _remove_temporary_files(directory: Path) -> None:
    """Remove files of killed processes; call this only while holding the lock."""
    for folder in directory.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    remove_leftovers(directory)
