"""Paths that are not datasets, and paths relative to the home directory."""

import bz2
import gzip
import pwd
import tarfile
import zipfile
from pathlib import Path

import pytest
from image_files import write_classes

from thumbnet.data.check import check_data
from thumbnet.data.dataset import Dataset
from thumbnet.data.load import load
from thumbnet.data.sources.cache import default_cache_directory
from thumbnet.errors import InputError


@pytest.fixture
def pets(sample: Dataset, tmp_path: Path) -> Path:
    write_classes(tmp_path / "pets", sample.train, {"cat": 5, "dog": 5})
    return tmp_path / "pets"


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz"])
def test_an_archive_of_images_must_be_unpacked(suffix: str, pets: Path, tmp_path: Path) -> None:
    archive = tmp_path / f"pets{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for picture in pets.rglob("*.png"):
                file.write(picture, picture.relative_to(tmp_path))
    else:
        mode = {".tar": "w", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}.get(suffix, "w:gz")
        with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
            tar.add(pets, "pets")
    with pytest.raises(InputError, match=r"pets\S+ is an archive.* cannot be read directly; unpa"):
        load(archive)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "t.csv.gz",
            gzip.compress(b"path,label\n", mtime=0),
            "t.csv.gz is compressed; unpack it, and give",
        ),
        ("t.csv.bz2", bz2.compress(b"path,label\n"), "t.csv.bz2 is an archive, which cannot be r"),
        ("empty.zip", b"PK\x05\x06" + bytes(18), "empty.zip is an empty archive, which cannot"),
        ("broken.zip", b"PK\x03\x04" + bytes(30), "broken.zip is damaged"),
        ("broken.tar.gz", b"\x1f\x8b\x08" + bytes(30), "broken.tar.gz is truncated or damaged"),
        ("notes.txt", b"hello", "notes.txt is not a dataset; give a folder with a subfolder"),
        ("nothing", b"", "nothing is not a dataset"),
    ],
)
def test_other_files_are_described_correctly(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(tmp_path / name)


def test_a_tilde_is_the_home_directory(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(pets.parent))
    monkeypatch.setenv("THUMBNET_CACHE", "~/cache")
    assert default_cache_directory() == pets.parent / "cache"
    assert load("~/pets").class_names == ("cat", "dog")
    assert check_data("~/pets").images == 10
    assert (pets.parent / "cache" / "decoded").is_dir()


def test_without_a_home_directory_only_the_cache_fails(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unnamed(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unnamed)
    for name in ("HOME", "XDG_CACHE_HOME", "THUMBNET_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert load(source="sample").name == "cifar10-sample"
    assert check_data(pets).images == 10
    with pytest.raises(InputError, match="cannot find the home directory for the cache; set the"):
        load(pets)
    monkeypatch.setenv("THUMBNET_CACHE", str(tmp_path / "cache"))
    assert load(pets).class_names == ("cat", "dog")
