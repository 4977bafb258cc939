"""Problems found in datasets, and their messages."""

import os
import re
import struct
from pathlib import Path
from zlib import compress, crc32

import numpy as np
import pytest
from image_files import two_classes, write_classes
from PIL import Image

from thumbnet.data.check import check_data
from thumbnet.data.dataset import Dataset
from thumbnet.data.images import MAXIMUM_PIXELS
from thumbnet.data.listing import Problem
from thumbnet.errors import InputError


@pytest.fixture
def pets(sample: Dataset, tmp_path: Path) -> Path:
    write_classes(tmp_path / "pets", sample.train, {"cat": 10, "dog": 10})
    return tmp_path / "pets"


def deep_colours() -> bytes:
    """A PNG of 8×8 pixels with 16 bits per channel, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(range(48)) for _ in range(8))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def problems(path: Path) -> list[tuple[str, str]]:
    """Kind of each problem, and its path relative to the folder."""
    return sorted((p.kind, p.path.removeprefix(f"{path}/")) for p in check_data(path).problems)


def only_problem(path: Path) -> Problem:
    (problem,) = check_data(path).problems
    return problem


def test_an_intact_folder_has_no_problems(pets: Path) -> None:
    checked = check_data(pets)
    assert checked.images == 20
    assert checked.problems == ()


def test_unreadable_images_are_found(pets: Path) -> None:
    cats = pets / "cat"
    whole = (cats / "0000.png").read_bytes()
    (cats / "0000.png").write_bytes(whole[:-60])
    (cats / "0001.png").write_bytes(b"")
    (cats / "0002.png").write_text("not an image", encoding="utf-8")
    side = int(MAXIMUM_PIXELS**0.5) + 1
    Image.new("1", (side, side)).save(cats / "0003.png")
    (cats / "0004.png").unlink()
    (cats / "0004.png").symlink_to("nowhere")
    Image.new("RGB", (5, 5)).save(cats / "0005.jp2")
    (cats / "notes.txt").write_text("a cat", encoding="utf-8")
    found = [path for kind, path in problems(pets) if kind == "bad picture"]
    names = ["0000.png", "0001.png", "0002.png", "0003.png", "0004.png", "0005.jp2"]
    assert found == [f"cat/{name}" for name in names]
    messages = {p.path.rsplit("/", 1)[1]: p.message for p in check_data(pets).problems}
    assert messages["0001.png"] == "is empty"
    assert messages["0002.png"] == "is not an image in any known format"
    assert "pixels, above the limit of 50 million" in messages["0003.png"]
    assert messages["0005.jp2"].startswith("is in JPEG 2000 format, which is not supp")
    assert messages["0004.png"] == "does not exist"
    *bad, other = check_data(pets).problems
    assert all(problem.stops_training and problem.remedy for problem in bad)
    assert (other.kind, other.path) == ("other file", str(cats / "notes.txt"))
    assert other.is_advice


def test_an_unreadable_folder(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def without_permission(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    (pets / "cat" / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", without_permission)
    problem = only_problem(pets)
    assert problem.path == str(pets / "cat" / "locked")
    assert problem.message.startswith("cannot be read as an image")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(pets: Path) -> None:
    (pets / "cat" / "0000.png").chmod(0)
    assert only_problem(pets).message.endswith("Permission denied")


def test_images_that_are_read_differently_than_expected(pets: Path, sample: Dataset) -> None:
    cats = pets / "cat"
    frames = [Image.fromarray(image) for image in sample.test.images[:3]]
    frames[0].save(cats / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    values = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 60
    Image.fromarray(values).save(cats / "deep.png")
    (cats / "deep_colours.png").write_bytes(deep_colours())
    frames[1].convert("CMYK").save(cats / "print.jpg")
    frames[2].save(cats / "other.jpg", format="PNG")
    (cats / "0000.png").rename(os.fsdecode(os.fsencode(cats) + b"/\xff.png"))
    assert problems(pets) == [
        ("16 bits", "cat/deep.png"),
        ("16 bits", "cat/deep_colours.png"),
        ("CMYK", "cat/print.jpg"),
        ("animated", "cat/a.webp"),
        ("name", "cat/\\xff.png"),
        ("wrong suffix", "cat/other.jpg"),
    ]
    assert not any(problem.stops_training for problem in check_data(pets).problems)


def test_misplaced_files_and_folders(pets: Path, tmp_path: Path, sample: Dataset) -> None:
    (pets / "cat" / "circle").symlink_to(pets)
    (pets / "bird").mkdir()
    Image.new("RGB", (5, 5)).save(pets / "loose.png")
    (pets / "README.md").write_text("about pets", encoding="utf-8")
    (pets / "cat" / ".DS_Store").write_text("", encoding="utf-8")
    assert problems(pets) == [
        ("empty class", "bird"),
        ("link loop", "cat/circle"),
        ("stray file", "loose.png"),
    ]
    write_classes(tmp_path / "b" / "train", sample.train, {"cat": 5, "dog": 5})
    write_classes(tmp_path / "b" / "test", sample.test, {"cat": 5, "dog": 5})
    write_classes(tmp_path / "b" / "old", sample.test, {"cat": 2})
    assert problems(tmp_path / "b") == [("stray folder", "old")]


def test_missing_small_and_unbalanced_classes(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path / "a", sample.train, {"cat": 1, "dog": 8})
    assert problems(tmp_path / "a") == [
        ("missing class", "cat"),
        ("small class", "cat"),
        ("unbalanced", "cat"),
    ]
    (stops,) = [problem for problem in check_data(tmp_path / "a").problems if not problem.is_advice]
    assert stops.message == "has only one training image; the validation split needs one too"
    write_classes(tmp_path / "b" / "train", sample.train, {"cat": 4})
    write_classes(tmp_path / "b" / "test", sample.train, {"dog": 4})
    assert problems(tmp_path / "b") == [
        ("missing class", "cat"),
        ("missing class", "dog"),
        ("one class", "cat"),
    ]
    write_classes(tmp_path / "c", sample.train, {"cat": 5, "dog": 40})
    problem = only_problem(tmp_path / "c")
    assert re.fullmatch(r"has 4 training images, while dog has 3\d", problem.message)
    assert 'balance = "class_weights"' in problem.remedy


def test_duplicates_across_splits_and_classes(sample: Dataset, tmp_path: Path) -> None:
    for part, first in (("train", 0), ("val", 10), ("test", 20)):
        write_classes(tmp_path / part, sample.train, {"cat": 5, "dog": 5}, first)
    again = Image.open(tmp_path / "train" / "cat" / "0001.png")
    again.save(tmp_path / "test" / "cat" / "again.webp", lossless=True)
    again.save(tmp_path / "train" / "cat" / "harmless.png")
    Image.open(tmp_path / "val" / "dog" / "0010.png").save(tmp_path / "val" / "cat" / "which.png")
    found = check_data(tmp_path).problems
    duplicates = [p for p in found if p.kind == "duplicate"]
    assert {p.path for p in duplicates} == {str(tmp_path / "test" / "cat" / "again.webp")}
    assert "has the same pixels as" in duplicates[0].message
    assert "0001.png in the train split" in duplicates[0].message
    assert all(p.spoils_figures for p in duplicates)
    (two_labels,) = [p for p in found if p.kind == "two labels"]
    assert two_labels.is_advice  # in the validation split
    assert {"is labelled cat", "is labelled dog"} & {two_labels.message[:15]}


def test_a_table_with_bad_rows(sample: Dataset, tmp_path: Path) -> None:
    names = [p.name for p in write_classes(tmp_path, sample.train, {"cat": 6})]
    rows = [f"cat/{name},{index % 2}" for index, name in enumerate(names)]
    text = "\n".join(["path,label", *rows, ",1", "nosuch.png,0"])
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    assert problems(tmp_path / "t.csv") == [
        ("bad picture", str(tmp_path / "nosuch.png")),
        ("bad row", f"{tmp_path}/t.csv line 8"),
    ]


def test_arrays_are_checked_too(sample: Dataset, tmp_path: Path) -> None:
    part, _ = two_classes(sample, 20)
    images = np.asarray(part.images)
    path = tmp_path / "a.npz"
    np.savez(path, x_train=images, y_train=part.labels, x_test=images[:2], y_test=part.labels[:2])
    found = check_data(path).problems
    assert [p.kind for p in found] == ["duplicate", "duplicate"]
    assert "test image" in found[0].path


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nosuch cannot be read"):
        check_data(tmp_path / "nosuch")
