"""Parquet files in the layout of image datasets on the Hugging Face hub."""

import contextlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import two_classes
from PIL import Image

from thumbnet.data import parquet
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.load import load
from thumbnet.errors import InputError
from thumbnet.installing import install_command

pyarrow = pytest.importorskip("pyarrow")


def encode(image: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def write(
    path: Path,
    part: LabelledImages,
    names: list[str] | None = None,
    image: str = "image",
    **columns: list[Any],
) -> Path:
    """Write a file like the library `datasets`."""
    import pyarrow.parquet as pq

    values = [
        {"bytes": encode(part.images[index]), "path": f"{index}.png"} for index in range(len(part))
    ]
    table = pyarrow.table({image: values, "label": part.labels.tolist(), **columns})
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}, image: {"_type": "Image"}}
        table = table.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": features}})}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=7)
    return path


@pytest.fixture
def part(sample: Dataset) -> LabelledImages:
    return two_classes(sample, 40)[0]


def same_images(one: LabelledImages, other: LabelledImages) -> bool:
    return {(i.tobytes(), int(n)) for i, n in zip(one.images, one.labels, strict=True)} == {
        (i.tobytes(), int(n)) for i, n in zip(other.images, other.labels, strict=True)
    }


def test_the_hub_layout_is_read(
    part: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "ROWS", 5)
    for name, some in (
        ("data/train-00000-of-00002.parquet", range(10)),
        ("data/train-00001-of-00002.parquet", range(10, 20)),
        ("data/validation-00000-of-00001.parquet", range(20, 30)),
        ("data/test-00000-of-00001.parquet", range(30, 40)),
    ):
        write(tmp_path / name, part.take(some), ["wild cat", "dog"])
    dataset = load(tmp_path)
    assert dataset.class_names == ("wild cat", "dog")
    assert same_images(dataset.train, part.take(range(20)))
    assert dataset.validation is not None
    assert same_images(dataset.validation, part.take(range(20, 30)))
    assert same_images(dataset.test, part.take(range(30, 40)))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train/0000.parquet", "test/0000.parquet"),
        ("data/train/0000.parquet", "data/test/0000.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("plain_text/train-00000-of-00001.parquet", "plain_text/test-00000-of-00001.parquet"),
        ("train-00000-of-00001-a09b74b3ef9c3b56.parquet", "evaluation-0.parquet"),
        ("pets_Train.parquet", "pets_eval.parquet"),
        ("partial-train/0000.parquet", "test/0000.parquet"),
    ],
)
def test_splits_are_recognised_by_words_in_names(
    train: str, test: str, part: LabelledImages, tmp_path: Path
) -> None:
    write(tmp_path / train, part.take(range(20)))
    write(tmp_path / test, part.take(range(20, 40)))
    write(tmp_path / ".cache" / "train" / "1.parquet", part.take(range(3)))
    dataset = load(tmp_path)
    assert same_images(dataset.train, part.take(range(20)))
    assert same_images(dataset.test, part.take(range(20, 40)))
    assert dataset.test.names[1] == f"{test} row 1"


def test_a_file_without_a_split_next_to_others_is_refused(
    part: LabelledImages, tmp_path: Path
) -> None:
    for name in ("train-0", "test-0", "extra-0"):
        write(tmp_path / f"{name}.parquet", part)
    with pytest.raises(InputError, match=r"cannot tell which split .*extra-0.parquet belongs to"):
        load(tmp_path)


def test_several_data_sets_in_one_folder_are_refused(part: LabelledImages, tmp_path: Path) -> None:
    for name in ("large", "small"):
        write(tmp_path / name / "train-0.parquet", part)
        write(tmp_path / name / "test-0.parquet", part)
    with pytest.raises(InputError, match=r"several datasets, in .*/large, .*/small; give one"):
        load(tmp_path)
    assert same_images(load(tmp_path / "small").train, part)


def test_files_may_order_their_classes_differently(part: LabelledImages, tmp_path: Path) -> None:
    write(tmp_path / "test.parquet", part.take(range(20, 40)), ["cat", "dog"])
    other = part.take(range(20))
    swapped = LabelledImages(other.images, 1 - other.labels)
    write(tmp_path / "train.parquet", swapped, ["dog", "cat"])
    dataset = load(tmp_path)
    assert dataset.class_names == ("dog", "cat")
    assert same_images(dataset.train, swapped)
    test = part.take(range(20, 40))
    assert same_images(dataset.test, LabelledImages(test.images, 1 - test.labels))
    write(tmp_path / "train-1.parquet", other)
    with pytest.raises(
        InputError, match=r"column label of .*train-1.parquet has no class names, and those of"
    ):
        load(tmp_path)


def test_column_names_may_differ_between_files(part: LabelledImages, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", part.take(range(20)), image="img")
    write(tmp_path / "test.parquet", part.take(range(20, 40)), image="image")
    assert same_images(load(tmp_path).test, part.take(range(20, 40)))


def test_one_of_several_image_columns_can_be_chosen(part: LabelledImages, tmp_path: Path) -> None:
    masks = [{"bytes": encode(255 - image), "path": None} for image in part.images]
    path = write(tmp_path / "a.parquet", part, mask=masks)
    inverted = LabelledImages(255 - np.asarray(part.images), part.labels)
    chosen = load(path, path_column="mask")
    both = LabelledImages(
        np.concatenate([chosen.train.images, chosen.test.images]),
        np.concatenate([chosen.train.labels, chosen.test.labels]),
    )
    assert same_images(both, inverted)
    with pytest.raises(InputError, match=r"no path column named photo"):
        load(path, path_column="photo")


def test_whole_numbers_stored_as_floats_are_labels(part: LabelledImages, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", part, age=[10.0, 2.0] * 20)
    assert load(path, label="age").class_names == ("2", "10")


def test_a_git_lfs_pointer_is_explained(part: LabelledImages, tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", part)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (tmp_path / "test.parquet").write_text(pointer, encoding="utf-8")
    for path in (tmp_path, tmp_path / "test.parquet"):
        with pytest.raises(InputError, match=r"test.parquet is a Git LFS pointer; download"):
            load(path)


def test_a_test_split_is_held_out_of_a_single_file(part: LabelledImages, tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "pets.parquet", part, image="img"))
    assert (dataset.name, dataset.class_names) == ("pets", ("0", "1"))
    assert len(dataset.train) + len(dataset.test) == 40
    assert set(dataset.test.labels) == {0, 1}


def test_a_label_can_be_chosen(part: LabelledImages, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", part, age=["old", "new"] * 20)
    assert load(path, label="age").class_names == ("new", "old")
    with pytest.raises(InputError, match=r"named size; .* \(its columns: image, label, age\)"):
        load(path, label="size")


def test_labels_without_class_names_are_refused(part: LabelledImages, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", part, ["only one"])
    with pytest.raises(
        InputError, match=r"the column label of .*a.parquet has 1 in row 1; it must be 0 to 0"
    ):
        load(path)
    path = write(tmp_path / "b.parquet", part, age=[None] * 40)
    with pytest.raises(InputError, match=r"age of .* has None in row 0; .* an integer or a string"):
        load(path, label="age")


def test_bad_images_are_named_by_row(part: LabelledImages, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    values = [encode(image) for image in part.images[:10]]
    values[3] = b""
    pq.write_table(pyarrow.table({"image": values, "label": [0, 1] * 5}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet row 3 is empty: repair or remove"):
        load(tmp_path / "a.parquet")
    assert len(load(tmp_path / "a.parquet", on_bad_image="skip").skipped) == 1


def test_a_table_of_paths(part: LabelledImages, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    names = [f"{index}.png" for index in range(10)]
    for name, image in zip(names, part.images[:10], strict=True):
        Image.fromarray(image).save(tmp_path / name)
    table = pyarrow.table({"file_name": names, "label": ["b", "a"] * 5})
    pq.write_table(table, tmp_path / "t.parquet")
    dataset = load(tmp_path / "t.parquet")
    assert dataset.class_names == ("a", "b")
    assert len(dataset.train) + len(dataset.test) == 10


def test_damaged_files_are_named(part: LabelledImages, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", part)
    whole = path.read_bytes()
    for kept in (4, 100, len(whole) - 9):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"a.parquet is not a Parquet file, or is damaged"):
            load(path)
    middle = bytearray(whole)
    middle[60:5000] = np.random.default_rng(0).bytes(4940)
    path.write_bytes(middle)
    with pytest.raises(InputError, match=r"a.parquet"):
        load(path)


def test_missing_pyarrow_is_reported_with_the_install_command(
    part: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", part)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=re.escape(install_command("parquet"))):
        load(path)


CELLS = {
    "texts": st.one_of(st.none(), st.text(max_size=4)),
    "numbers": st.one_of(st.none(), st.integers(-1, 3)),
    "floats": st.one_of(st.none(), st.floats(), st.integers(0, 3).map(float)),
    "truth": st.booleans(),
    "lists": st.lists(st.integers(0, 3), max_size=2),
    "bytes": st.one_of(st.none(), st.binary(max_size=9), st.just(encode(np.eye(8) > 0))),
    "files": st.fixed_dictionaries(
        {
            "bytes": st.one_of(st.none(), st.just(encode(np.eye(8) > 0))),
            "path": st.one_of(st.none(), st.just("a.png"), st.text(max_size=3)),
        }
    ),
}


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_table_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import pyarrow.parquet as pq

    folder = tmp_path_factory.mktemp("tables")
    for name in data.draw(st.sampled_from([["a"], ["train", "test"], ["train", "b"]])):
        rows = data.draw(st.integers(0, 6))
        columns = {
            column: data.draw(st.lists(CELLS[kind], min_size=rows, max_size=rows))
            for column, kind in (
                ("image", data.draw(st.sampled_from(["bytes", "files", "texts"]))),
                ("label", data.draw(st.sampled_from(sorted(CELLS)))),
            )
        }
        names = data.draw(st.sampled_from([None, ["cat", "dog", "cow"], ["dog", "cat"], [1], "x"]))
        table = pyarrow.table(columns)
        features = {"label": {"names": names}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(table.replace_schema_metadata(metadata), folder / f"{name}.parquet")
    for path in (folder, *folder.glob("*.parquet")):
        with contextlib.suppress(InputError):
            dataset = load(path, on_bad_image=data.draw(st.sampled_from(["fail", "skip"])))
            assert len(dataset.train) == len(dataset.train.labels) > 0


def test_a_column_can_define_groups(part: LabelledImages, tmp_path: Path) -> None:
    patients = [f"p{row // 4}" for row in range(40)]
    dataset = load(write(tmp_path / "a.parquet", part, patient=patients), group="patient")
    train, test = (
        {patients[int(name.rsplit(" ", 1)[1])] for name in images.names}
        for images in (dataset.train, dataset.test)
    )
    assert train.isdisjoint(test)
    assert train | test == set(patients)
    with pytest.raises(InputError, match=r"--group doctor: .*a.parquet has no such column"):
        load(tmp_path / "a.parquet", group="doctor")
