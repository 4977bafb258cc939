"""Real-world folders: names of splits, other files among the images, and refused layouts."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from image_files import write_classes
from PIL import Image

from thumbnet.data.check import check_data
from thumbnet.data.dataset import Dataset
from thumbnet.data.listing import TEST, TRAIN, VALIDATION, split_named
from thumbnet.data.load import load
from thumbnet.errors import InputError

PETS = {"cat": 4, "dog": 4}


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Train", TRAIN),
        ("training_set", TRAIN),
        ("seg_train", TRAIN),
        ("train-images", TRAIN),
        ("trainset", TRAIN),
        ("validate", VALIDATION),
        ("val_data", VALIDATION),
        ("test_set", TEST),
        ("seg_test", TEST),
        ("Evaluation", TEST),
        ("seg_pred", None),
        ("data", None),
        ("trains", None),
        ("testbed", None),
        ("cat", None),
    ],
)
def test_split_names_are_recognised(name: str, part: int | None) -> None:
    assert split_named(name) == part


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("Training", "Evaluation"),
    ],
)
def test_splits_with_unusual_names_are_read(
    train: str, test: str, sample: Dataset, tmp_path: Path
) -> None:
    write_classes(tmp_path / train, sample.train, PETS)
    write_classes(tmp_path / "validate", sample.train, PETS, first=4)
    write_classes(tmp_path / test, sample.test, PETS)
    dataset = load(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert {name: len(part) for name, part in dataset.parts.items()} == {
        "train": 8,
        "validation": 8,
        "test": 8,
    }
    assert dataset.test.names[0] == f"{test}/cat/0000.png"


def test_folders_that_contain_only_folders_are_refused(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path / "one" / "PetImages", sample.train, PETS)
    message = (
        r"contains a single folder, PetImages, with the folders cat, dog; .* give .*/PetImages"
    )
    for read in (load, check_data):
        with pytest.raises(InputError, match=message):
            read(tmp_path / "one")
    assert load(tmp_path / "one" / "PetImages").class_names == ("cat", "dog")

    for name in ("first", "second"):
        write_classes(tmp_path / "same" / name, sample.train, PETS)
    message = (
        r"first, second in .*same contain no images but the same folders \(cat, dog\); if they"
    )
    with pytest.raises(InputError, match=message):
        load(tmp_path / "same")

    write_classes(tmp_path / "nested" / "pets", sample.train, {"cat": 4})
    write_classes(tmp_path / "nested" / "wolves", sample.train, {"dog": 4})
    with pytest.raises(
        InputError, match=r"contain no images but folders \(cat, dog\).*--group '.*/'"
    ):
        load(tmp_path / "nested")
    with pytest.raises(InputError, match=r"none can be held out because no class has two groups"):
        load(tmp_path / "nested", group=".*/")
    write_classes(tmp_path / "nested" / "pets", sample.train, {"dog": 4}, first=4)
    write_classes(tmp_path / "nested" / "wolves", sample.train, {"cat": 4}, first=4)
    assert load(tmp_path / "nested", group=".*/").class_names == ("pets", "wolves")

    for part in ("train", "test"):
        write_classes(tmp_path / "deep" / part / "images", sample.train, PETS)
    with pytest.raises(InputError, match=r"deep/train contains a single folder, images, with the"):
        load(tmp_path / "deep")


def test_ambiguous_splits_are_refused(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path / "a", sample.train, PETS)
    write_classes(tmp_path / "a" / "testing", sample.test, PETS)
    message = (
        r"testing in .* contains folders with the same names as the classes next to it \(cat, d"
    )
    with pytest.raises(InputError, match=message):
        load(tmp_path / "a")

    for part in ("val", "test"):
        write_classes(tmp_path / "b" / part, sample.train, PETS)
    with pytest.raises(InputError, match=r"test, val in .* include no training split; put the i"):
        load(tmp_path / "b")

    for part in ("train", "test"):
        (tmp_path / "c" / part).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "c" / part / "cat.1.jpg")
    with pytest.raises(InputError, match=r"test, train in .* contain images but no class folders"):
        load(tmp_path / "c")

    for part in ("train", "val", "valid"):
        write_classes(tmp_path / "d" / part, sample.train, PETS)
    with pytest.raises(InputError, match=r"val and valid in .* are both names of the validation s"):
        load(tmp_path / "d")

    for part in ("train", "holdout"):
        write_classes(tmp_path / "e" / part, sample.train, PETS)
    message = (
        r"holdout contains the same classes as train \(cat, dog\), but its name is not that of"
    )
    with pytest.raises(InputError, match=message):
        load(tmp_path / "e")
    assert len(load(tmp_path / "e", on_bad_image="skip").skipped) == 1


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for label, name in enumerate(("bus", "car", "train")):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", (8, 8), (label, number, 0)).save(tmp_path / name / f"{number}.png")
    assert load(tmp_path).class_names == ("bus", "car", "train")


def test_unicode_normalisation_does_not_create_classes(sample: Dataset, tmp_path: Path) -> None:
    for part, form in (("train", "NFC"), ("test", "NFD")):
        write_classes(tmp_path / part, sample.train, PETS)
        name = unicodedata.normalize(form, "café")  # type: ignore[arg-type]
        (tmp_path / part / "cat").rename(tmp_path / part / name)
    dataset = load(tmp_path)
    assert dataset.class_names == (unicodedata.normalize("NFC", "café"), "dog")
    assert dataset.test.names[0].startswith("test/")
    assert check_data(tmp_path).problems[0].kind == "duplicate"  # but no missing class


def test_similar_class_names_are_noted(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path, sample.train, {"cat": 5, "dog": 5})
    (tmp_path / "cat").rename(tmp_path / "Dog ")
    (problem,) = [one for one in check_data(tmp_path).problems if one.kind == "similar names"]
    assert problem.is_advice
    assert "has nearly the same name as the class" in problem.message


LEFTOVERS = (
    "x.png:Zone.Identifier",
    "thumbs.db",
    "Desktop.ini",
    "Icon\r",
    "ehthumbs.db",
    "Picasa.ini",
    ".DS_Store",
    "@eaDir/SYNOPHOTO_THUMB_M.jpg",
    "__MACOSX/._cat.png",
)


def test_operating_system_files_are_ignored(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path, sample.train, {"cat": 10, "dog": 10})
    for name in LEFTOVERS:
        path = tmp_path / "cat" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((tmp_path / "dog" / "0000.png").read_bytes())
    dataset = load(tmp_path)
    assert len(dataset.train) + len(dataset.test) == 20
    assert check_data(tmp_path).problems == ()


def test_other_files_are_only_noted(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path, sample.train, {"cat": 10, "dog": 10})
    (tmp_path / "cat" / "notes.txt").write_text("a cat", encoding="utf-8")
    (tmp_path / "cat" / "labels.xml").write_text("<annotation/>", encoding="utf-8")
    # Images are recognised by their content, whatever their name.
    (tmp_path / "dog" / "0000.png").rename(tmp_path / "dog" / "image")
    (tmp_path / "dog" / "0001.png").rename(tmp_path / "dog" / "0001.png.bak")
    reports: list[str] = []
    dataset = load(tmp_path, report=reports.append)
    assert len(dataset.train) + len(dataset.test) == 20
    assert reports[0] == f"{tmp_path}: 2 × other file; `thumbnet data check` lists them"
    checked = check_data(tmp_path)
    assert [problem.kind for problem in checked.problems] == ["other file", "other file"]
    assert checked.is_usable


def write_frames(folder: Path, classes: int, series: int, frames: int) -> None:
    """Images named like those of GTSRB: the series, then the frame."""
    generator = np.random.default_rng(0)
    for label in range(classes):
        (folder / str(label)).mkdir(parents=True)
        for one in range(series):
            base = generator.integers(255, size=(8, 8, 3), dtype=np.uint8)
            for frame in range(frames):
                path = folder / str(label) / f"{one:05}_{frame:05}.ppm"
                Image.fromarray(base + (frame % 2)).save(path)


def test_groups_stay_in_one_split(tmp_path: Path) -> None:
    write_frames(tmp_path, classes=3, series=12, frames=5)
    reports: list[str] = []
    load(tmp_path, report=reports.append)
    (hint,) = [line for line in reports if "series" in line]
    pattern = hint.rsplit("--group ", 1)[1].strip("'")
    (problem,) = [one for one in check_data(tmp_path).problems if one.kind == "series"]
    assert problem.is_advice
    assert pattern in problem.remedy

    dataset = load(tmp_path, group=pattern, report=reports.append)
    assert "in whole groups" in dataset.source
    assert [line for line in reports if "series" in line] == [hint]  # not reported again
    series = [{name.rsplit("_", 1)[0] for name in part.names} for part in dataset.parts.values()]
    assert series[0].isdisjoint(series[1])
    assert sum(map(len, series)) == 36
    assert set(dataset.test.labels) == {0, 1, 2}
    assert dataset.train.groups is not None
    assert len(np.unique(dataset.train.groups)) == len(series[0])
    assert dataset.reading.group == pattern


def test_groups_spread_over_several_splits_are_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_frames(tmp_path / part, classes=2, series=4, frames=3)
    found = check_data(tmp_path, group=r"(.+)_")
    divided = [problem for problem in found.problems if problem.kind == "divided group"]
    assert len(divided) == 8
    assert all(problem.spoils_figures for problem in divided)
    assert (
        divided[0].message
        == "belongs to a group of 6 images that is spread over the train and test splits"
    )
    assert not found.is_usable


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "--group ( is not a regular expression"),
        ("video[0-9]+", "matches no image path, such as 0/00000_00000.ppm; give a"),
    ],
)
def test_useless_group_patterns_are_refused(pattern: str, message: str, tmp_path: Path) -> None:
    write_frames(tmp_path, classes=2, series=2, frames=2)
    with pytest.raises(InputError) as caught:
        load(tmp_path, group=pattern)
    assert message in str(caught.value)


def test_numbered_images_are_not_a_series(sample: Dataset, tmp_path: Path) -> None:
    for path in write_classes(tmp_path, sample.train, {"cat": 20, "dog": 20}):
        path.rename(path.with_name(f"{path.parent.name}{path.name}"))
    assert check_data(tmp_path).problems == ()
