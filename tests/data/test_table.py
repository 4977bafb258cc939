"""Tables of paths and labels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_files import write_classes

from thumbnet.data.dataset import Dataset
from thumbnet.data.images import read_image
from thumbnet.data.load import load
from thumbnet.errors import InputError


@pytest.fixture
def files(sample: Dataset, tmp_path: Path) -> list[str]:
    """Paths of pictures relative to the folder of the table."""
    written = write_classes(tmp_path / "pictures", sample.train, {"cat": 10, "dog": 10})
    return [str(path.relative_to(tmp_path)) for path in written]


def write(tmp_path: Path, *lines: str, name: str = "labels.csv") -> Path:
    (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / name


def test_paths_are_relative_to_the_table(files: list[str], tmp_path: Path) -> None:
    table = write(tmp_path, "Label,path", *(f'"{Path(f).parent.name}, tame",{f}' for f in files))
    dataset = load(table)
    assert dataset.name == "labels"
    assert dataset.class_names == ("cat, tame", "dog, tame")
    assert (len(dataset.train), len(dataset.test)) == (16, 4)
    expected = {read_image(tmp_path / file, (32, 32, 3)).tobytes() for file in files[:10]}
    for part in (dataset.train, dataset.test):
        cats = part.images[np.flatnonzero(part.labels == 0)]
        assert {image.tobytes() for image in cats} <= expected


def test_a_column_may_say_the_part(files: list[str], tmp_path: Path) -> None:
    parts = ["train"] * 6 + ["val"] * 2 + ["TEST"] * 2
    rows = [
        f"{file}\t{number}\t{part}"
        for file, number, part in zip(files, [1] * 10 + [10] * 10, parts * 2, strict=True)
    ]
    dataset = load(write(tmp_path, "file\tclass\tsplit", *rows, name="labels.tsv"))
    assert {name: len(part) for name, part in dataset.parts.items()} == {
        "train": 12,
        "validation": 4,
        "test": 4,
    }
    assert dataset.class_names == ("1", "10")


def test_another_column_of_labels(files: list[str], tmp_path: Path) -> None:
    rows = [f"{file},{Path(file).parent.name},{index % 4}" for index, file in enumerate(files)]
    table = write(tmp_path, "path,label,age", *rows)
    assert load(table, label="age").class_names == ("0", "1", "2", "3")
    with pytest.raises(InputError, match=r"has no column of labels; name one size \(there: path"):
        load(table, label="size")


def test_rows_that_say_too_little_are_named(files: list[str], tmp_path: Path) -> None:
    rows = [f"{file},{Path(file).parent.name},train" for file in files]
    table = write(
        tmp_path, "path,label,split", *rows, f"{files[0]},,train", "x.png", f"{files[0]},cat,exam"
    )
    with pytest.raises(InputError, match=r"line 22 has no label; .*line 23 has no label; .*'exam'"):
        load(table)
    dataset = load(table, on_bad_image="skip")
    assert len(dataset.skipped) == 3
    assert len(dataset.train) + len(dataset.test) == 20


def test_files_that_are_not_there_are_named(files: list[str], tmp_path: Path) -> None:
    table = write(tmp_path, "path,label", *(f"{f},a" for f in files), "nosuch.png,a")
    with pytest.raises(InputError, match=r"nosuch.png does not exist: mend or remove"):
        load(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column of paths; name one path or file"),
        (
            "path,kind\na.png,cat\n",
            r"no column of labels; name one label or .* \(there: path, kind",
        ),
        ("path,label\n", "names no picture that can be used"),
    ],
)
def test_what_is_no_such_table_is_explained(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "t.csv")


def test_text_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("path,label\nb\xe4r.png,B\xe4r\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"t.csv cannot be read as a table: .*utf-8"):
        load(tmp_path / "t.csv")


@settings(max_examples=150, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(lambda text: text.encode(errors="replace")),
        st.lists(
            st.tuples(
                st.sampled_from(["a.png", "", "..", "/", "\0", "x/y", "a.png\n"]),
                st.text(max_size=5),
                st.sampled_from(["train", "val", "test", "", "TRAIN ", "other"]),
            ),
            max_size=8,
        ).map(
            lambda rows: "\n".join(["path,label,split", *(",".join(row) for row in rows)]).encode(
                errors="replace"
            )
        ),
    )
)
def test_any_table_is_read_or_refused(
    data: bytes, sample: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("table")
    write_classes(folder, sample.train, {"cat": 1})
    (folder / "cat" / "0000.png").rename(folder / "a.png")
    (folder / "t.csv").write_bytes(data)
    try:
        dataset = load(folder / "t.csv", on_bad_image="skip")
    except InputError:
        return
    for part in dataset.parts.values():
        assert len(part) == len(part.labels) > 0
