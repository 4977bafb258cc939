"""Tables of paths and labels."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import write_classes
from typer.testing import CliRunner

from thumbnet.cli import app
from thumbnet.data.dataset import Dataset
from thumbnet.data.images import read_image
from thumbnet.data.labels import without_decimals
from thumbnet.data.listing import numbered_classes
from thumbnet.data.load import load
from thumbnet.errors import InputError


@pytest.fixture
def files(sample: Dataset, tmp_path: Path) -> list[str]:
    """Paths of images relative to the folder of the table."""
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


def test_a_column_may_define_splits(files: list[str], tmp_path: Path) -> None:
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


def test_another_label_column(files: list[str], tmp_path: Path) -> None:
    rows = [f"{file},{Path(file).parent.name},{index % 4}" for index, file in enumerate(files)]
    table = write(tmp_path, "path,label,age", *rows)
    assert load(table, label="age").class_names == ("0", "1", "2", "3")
    with pytest.raises(InputError, match=r"no label column named size; check --label \(its"):
        load(table, label="size")


def test_incomplete_rows_are_named(files: list[str], tmp_path: Path) -> None:
    rows = [f"{file},{Path(file).parent.name},train" for file in files]
    table = write(
        tmp_path, "path,label,split", *rows, f"{files[0]},,train", "x.png", f"{files[0]},cat,exam"
    )
    with pytest.raises(InputError, match=r"line 22 has no label; .*line 23 has no label; .*'exam'"):
        load(table)
    dataset = load(table, on_bad_image="skip")
    assert len(dataset.skipped) == 3
    assert len(dataset.train) + len(dataset.test) == 20


def test_missing_files_are_named(files: list[str], tmp_path: Path) -> None:
    table = write(tmp_path, "path,label", *(f"{f},a" for f in files), "nosuch.png,b")
    with pytest.raises(InputError, match=r"nosuch.png does not exist: repair or remove"):
        load(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", "t.csv is empty"),
        ("a,b\nx,y\n", "has no path column; choose one with --path-column, or rename it to path"),
        (
            "path,kind\na.png,cat\n",
            r"no label column; choose one with --label, .* \(its columns: path, kind",
        ),
        ("path,label\n", "contains no usable images"),
    ],
)
def test_invalid_tables_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("cp1252", "t.csv line 2 is not valid UTF-8; save the file as UTF-8"),
        ("utf-16", "t.csv is in UTF-16; save it as UTF-8"),
        ("utf-16-le", "t.csv is in UTF-16; save it as UTF-8"),
    ],
)
def test_text_in_another_encoding_is_refused(encoding: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("path,label\nbär.png,Bär\n".encode(encoding))
    with pytest.raises(InputError, match=message):
        load(tmp_path / "t.csv")


def test_utf_8_with_a_byte_order_mark_is_read(files: list[str], tmp_path: Path) -> None:
    text = "\n".join(
        ["path,label", *(f"{file},{'Bär' if 'cat' in file else 'Hund'}" for file in files)]
    )
    (tmp_path / "t.csv").write_bytes(text.encode("utf-8-sig"))
    assert load(tmp_path / "t.csv").class_names == ("Bär", "Hund")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " , ", "; "])
def test_common_delimiters_are_detected(delimiter: str, files: list[str], tmp_path: Path) -> None:
    rows = [delimiter.join([file, Path(file).parent.name]) for file in files]
    dataset = load(write(tmp_path, delimiter.join(["path", "label"]), *rows))
    assert dataset.class_names == ("cat", "dog")
    assert len(dataset.train) + len(dataset.test) == 20


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_columns_need_no_names(
    order: tuple[int, int], files: list[str], tmp_path: Path
) -> None:
    rows = [(file, Path(file).parent.name) for file in files]
    dataset = load(write(tmp_path, *(",".join(row[i] for i in order) for row in rows)))
    assert dataset.class_names == ("cat", "dog")
    assert len(dataset.train) + len(dataset.test) == 20


def test_more_columns_need_names(files: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no column names; add a first line with a name for"):
        load(write(tmp_path, *(f"{file},cat,tame" for file in files)))


def test_backslashes_and_spaces_in_paths_are_handled(files: list[str], tmp_path: Path) -> None:
    rows = [f"  {file} ,a" for file in files[:10]]
    rows += ["{},b".format(file.replace("/", "\\")) for file in files[10:]]
    (tmp_path / files[0]).rename(tmp_path / "with space .png")
    rows[0] = '"with space .png",a'
    dataset = load(write(tmp_path, "path,label", *rows))
    assert len(dataset.train) + len(dataset.test) == 20


def test_numbers_in_names_are_ordered_by_value(files: list[str], tmp_path: Path) -> None:
    def classes(name: Callable[[int], str]) -> tuple[str, ...]:
        rows = [f"{file},{name(2 + index // 2)}" for index, file in enumerate(files)]
        return load(write(tmp_path, "path,label", *rows)).class_names

    numbers = range(2, 12)
    assert classes(lambda n: f"{n}.0") == tuple(map(str, numbers))
    assert classes(lambda n: f"class {n}") == tuple(f"class {n}" for n in numbers)
    assert classes(lambda n: str(n / 4)) == tuple(str(n / 4) for n in numbers)
    assert classes(lambda n: f"{n % 2}-{n}") == tuple(
        f"{n % 2}-{n}" for n in (*numbers[::2], *numbers[1::2])
    )


def test_several_labels_in_one_cell_are_refused(files: list[str], tmp_path: Path) -> None:
    labels = ["cat", "pet", '"cat,pet"', "cat|pet", *["cat", "pet"] * 8]
    table = write(tmp_path, "path,label", *(f"{f},{n}" for f, n in zip(files, labels, strict=True)))
    with pytest.raises(InputError, match=r"line 4 has several labels, cat,pet; .*line 5 has sev"):
        load(table)
    assert load(table, on_bad_image="skip").class_names == ("cat", "pet")
    # A comma is not enough: none of the parts of these names is a label elsewhere.
    labels = ["Tench;Fish", "1,000 yen", "5,000 yen", "a, b", "b"] * 4
    table = write(
        tmp_path, "path,label", *(f'{f},"{n}"' for f, n in zip(files, labels, strict=True))
    )
    assert len(load(table).class_names) == 5


def test_json_lines_are_read_as_a_table(files: list[str], tmp_path: Path) -> None:
    rows = [
        {"file_name": file, "label": index % 2, "size": None} for index, file in enumerate(files)
    ]
    lines = [json.dumps(row) for row in rows]
    assert load(write(tmp_path, *lines, "", name="metadata.jsonl")).class_names == ("0", "1")
    bad = {"file_name": files[0], "label": ["cat", "dog"]}
    table = write(tmp_path, *lines, json.dumps(bad), name="metadata.jsonl")
    with pytest.raises(InputError, match=r"line 21 has several labels, \['cat', 'dog'\]"):
        load(table)
    for line, message in (
        ("{", "line 2 is not valid JSON"),
        ("[1]", "line 2 is not a JSON object; w"),
    ):
        with pytest.raises(InputError, match=message):
            load(write(tmp_path, lines[0], line, name="t.jsonl"))


def test_another_path_column(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{file},{Path(file).parent.name}" for file in files]
    table = write(tmp_path, "Photo,label", *rows)
    with pytest.raises(InputError, match="no path column; choose one with --path-column"):
        load(table)
    dataset = load(table, path_column="photo")
    assert dataset.reading.path_column == "photo"
    assert len(dataset.train) + len(dataset.test) == 20
    arguments = ["data", "info", "--json", "--data", str(table), "--path-column", "Photo"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["data", "check", str(table), "--path-column", "Photo"])
    assert done.exit_code == 0, done.output


@settings(max_examples=200, deadline=None)
@given(
    suffix=st.sampled_from([".csv", ".tsv", ".jsonl"]),
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
        st.lists(
            st.dictionaries(
                st.sampled_from(["path", "label", "split", "x"]),
                st.one_of(
                    st.just("a.png"),
                    st.text(max_size=5),
                    st.integers(),
                    st.floats(),
                    st.booleans(),
                    st.none(),
                    st.lists(st.text(max_size=3), max_size=2),
                ),
            ),
            max_size=5,
        ).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    ),
)
def test_any_table_is_read_or_refused(
    suffix: str, data: bytes, sample: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("table")
    write_classes(folder, sample.train, {"cat": 1})
    (folder / "cat" / "0000.png").rename(folder / "a.png")
    (folder / f"t{suffix}").write_bytes(data)
    try:
        dataset = load(folder / f"t{suffix}", on_bad_image="skip")
    except InputError:
        return
    for part in dataset.parts.values():
        assert len(part) == len(part.labels) > 0


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=6), min_size=1, max_size=6))
def test_any_strings_are_classes_in_a_fixed_order(texts: list[str]) -> None:
    names, labels = numbered_classes(texts)
    assert [names[label] for label in labels] == texts
    assert numbered_classes(texts[::-1])[0] == names
    assert len(without_decimals(texts)) == len(texts)


def test_a_column_or_a_pattern_can_define_groups(files: list[str], tmp_path: Path) -> None:
    rows = [f"{file},{'ab'[number % 2]},{number // 4}" for number, file in enumerate(files)]
    table = write(tmp_path, "path,label,patient", *rows)
    by_patient = {file: number // 4 for number, file in enumerate(files)}
    by_digit = {file: int(file[-5]) for file in files}
    for group, group_of in (("Patient", by_patient), (r"(\d)\.png$", by_digit)):
        dataset = load(table, group=group)
        train, test = (
            {group_of[name] for name in part.names} for part in (dataset.train, dataset.test)
        )
        assert train.isdisjoint(test)
        assert train | test == set(group_of.values())
