"""Datasets from the library `datasets`, with stand-ins for its classes, and from folders."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_files import two_classes, write_classes
from PIL import Image as PillowImage

from thumbnet import Dataset, InputError
from thumbnet.data.dataset import LabelledImages


class Image:
    """Stand-in for `datasets.Image`, which is recognised by its name."""

    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


@dataclass
class ClassLabel:
    names: list[str]


class Value:
    names = None


@dataclass
class Rows:
    """Stand-in for `datasets.Dataset`, as far as it is used."""

    columns: dict[str, list[Any]]
    features: dict[str, Any]
    _fingerprint: str | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, column: str) -> list[Any]:
        return self.columns[column]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, values, strict=True))


class ColumnRows(Rows):
    """Rows that can leave images encoded, like those of the library."""

    def select_columns(self, names: list[str]) -> "ColumnRows":
        return replace(self, columns={name: self.columns[name] for name in names})

    def cast_column(self, name: str, feature: Image) -> Rows:
        assert not feature.decode

        def encoded(picture: PillowImage.Image) -> dict[str, Any]:
            file = io.BytesIO()
            picture.save(file, "PNG")
            return {"bytes": file.getvalue(), "path": None}

        columns = self.columns | {name: list(map(encoded, self.columns[name]))}
        return Rows(columns, self.features | {name: feature})


@pytest.fixture
def part(sample: Dataset) -> LabelledImages:
    return two_classes(sample, 40)[0]


def rows(
    part: LabelledImages, names: list[str] | None, kind: type[Rows] = ColumnRows, **columns: Any
) -> Rows:
    pictures = [PillowImage.fromarray(image) for image in np.asarray(part.images)]
    label = ClassLabel(names) if names else Value()
    return kind(
        {"img": pictures, "label": part.labels.tolist(), **columns},
        {"img": Image(), "label": label, **{name: Value() for name in columns}},
    )


def same_images(one: LabelledImages, other: LabelledImages) -> bool:
    return {(i.tobytes(), int(n)) for i, n in zip(one.images, one.labels, strict=True)} == {
        (i.tobytes(), int(n)) for i, n in zip(other.images, other.labels, strict=True)
    }


def test_splits_and_class_names_are_kept(part: LabelledImages) -> None:
    swapped = LabelledImages(part.images, 1 - part.labels)
    found = Dataset.from_huggingface(
        {
            "test": rows(swapped.take(range(30, 40)), ["dog", "cat"]),
            "train": rows(part.take(range(20)), ["cat", "dog"]),
            "validation": rows(part.take(range(20, 30)), ["cat", "dog"], Rows),
        },
        name="pets",
    )
    assert found.class_names == ("cat", "dog")
    assert same_images(found.train, part.take(range(20)))
    assert found.validation is not None
    assert same_images(found.validation, part.take(range(20, 30)))
    assert same_images(found.test, part.take(range(30, 40)))
    assert (found.name, found.path) == ("pets", None)
    assert found.source == "pets of the library datasets"


def test_a_single_dataset_is_split_and_columns_can_be_chosen(part: LabelledImages) -> None:
    given = rows(part, None, age=["old", "new"] * 20)
    found = Dataset.from_huggingface(given, label="age", image_size=16)
    assert found.class_names == ("new", "old")
    assert len(found.train) + len(found.test) == 40
    assert set(found.test.labels) == {0, 1}
    assert found.image_shape == (16, 16, 3)


def test_the_cache_distinguishes_data_sets_by_fingerprint_or_content(part: LabelledImages) -> None:
    first = rows(part, None)
    second = rows(LabelledImages(255 - np.asarray(part.images), part.labels), None)
    for fingerprints in (("a", "b"), (None, None)):
        first._fingerprint, second._fingerprint = fingerprints
        seen = [
            np.asarray(Dataset.from_huggingface(one).test.images).tobytes()
            for one in (first, second)
        ]
        assert seen[0] != seen[1]
        assert np.asarray(Dataset.from_huggingface(first).test.images).tobytes() == seen[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: [1, 2], "the dataset is of type list; give a datasets.Dataset or a"),
        (lambda given: iter(given), "without streaming"),
        (lambda given: {}, "has the splits none; give a dict of those"),
        (lambda given: {"extra": given}, "has the splits extra; give a dict of those"),
        (lambda given: {"train": 3}, "train is of type int; give a datasets.Dataset"),
    ],
)
def test_other_types_are_refused(change: Any, message: str, part: LabelledImages) -> None:
    with pytest.raises(InputError, match=message):
        Dataset.from_huggingface(change(rows(part, None)))


def test_missing_columns_are_named(part: LabelledImages) -> None:
    given = rows(part, None)
    with pytest.raises(InputError, match=r"no label column named size; choose one with label=…"):
        Dataset.from_huggingface(given, label="size")
    with pytest.raises(InputError, match=r"no image column named size; choose one with image="):
        Dataset.from_huggingface(given, image="size")
    unlabelled = replace(given, columns=given.columns | {"label": [-1] * 40})
    unlabelled.features = given.features | {"label": ClassLabel(["cat", "dog"])}
    with pytest.raises(InputError, match=r"label of the dataset has -1 in row 0; it must be 0 to"):
        Dataset.from_huggingface(unlabelled)


def test_bad_images_are_named_by_row(part: LabelledImages) -> None:
    given = rows(part, None, Rows)
    given.columns["img"][3] = {"bytes": b"", "path": None}
    with pytest.raises(InputError, match="the dataset row 3 is empty"):
        Dataset.from_huggingface(given)
    assert len(Dataset.from_huggingface(given, on_bad_image="skip").skipped) == 1


def test_from_directory_accepts_only_folders(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path / "pets", sample.train, {"cat": 5, "dog": 5})
    assert Dataset.from_directory(tmp_path / "pets", image_size=8).image_shape == (8, 8, 3)
    (tmp_path / "pets.csv").write_text("path,label\n", encoding="utf-8")
    for name in ("pets.csv", "nosuch"):
        with pytest.raises(InputError, match=f"{name} is not a folder; use thumbnet.load"):
            Dataset.from_directory(tmp_path / name)
