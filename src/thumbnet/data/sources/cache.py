"""The cache: one file of CIFAR-10 in the user's cache directory, checked whenever it is read."""

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
    """The directory that `THUMBNET_CACHE` names, or else the one the system sets aside.

    Raises:
        InputError: the system knows no home of the user.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("THUMBNET_CACHE")
    try:
        return expanded(named) if named else user_cache_path("thumbnet")
    except RuntimeError as error:
        raise InputError(
            "there is no home directory to keep a cache in; name a directory for it in the "
            "environment variable THUMBNET_CACHE"
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
    """The dataset in the cache if there is a sound one; damage is reported."""
    try:
        return read_cache(directory, release)
    except InputError as error:
        report(f"CIFAR-10 in the cache is refused: {error}")
        return None


def keep(directory: Path, dataset: Dataset, report: Report) -> None:
    """Put a dataset into the cache; a full disk is reported and does no other harm."""
    try:
        with replacing(directory / FILE_NAME) as file:
            write_npz(file, dataset)
    except JobError as error:
        report(f"CIFAR-10 is not kept for the next time: {error}")


@contextmanager
def fetching(directory: Path, report: Report) -> Iterator[tuple[Path, bool]]:
    """Hold the cache alone while something is fetched into it.

    Yields:
        The directory to keep the dataset in, and whether another process was waited for. Where
        the cache cannot be written, the directory is a temporary one.
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
        report(f"the cache {directory} cannot be written ({error.strerror}): nothing is kept there")
        with TemporaryDirectory(prefix="thumbnet-") as temporary:
            yield Path(temporary), False
        return
    try:
        _remove_leftovers(directory)
        yield directory, waited
    finally:
        lock.release()


@contextmanager
def scratch(directory: Path) -> Iterator[Path]:
    """A directory that is gone afterwards; whatever a killed process left is removed later."""
    with TemporaryDirectory(
        prefix=SCRATCH_PREFIX, dir=directory, ignore_cleanup_errors=True
    ) as name:
        yield Path(name)


def _remove_leftovers(directory: Path) -> None:
    """Remove what killed processes left; to be called by the holder of the lock only."""
    for folder in directory.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
    remove_leftovers(directory)
