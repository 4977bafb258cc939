"""Parquet files, in the layout of image data sets on the Hugging Face hub."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_files import two_classes
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
    """A file as the library `datasets` writes it."""
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


def test_files_of_the_hub(
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


def test_parts_may_be_folders(part: LabelledImages, tmp_path: Path) -> None:
    write(tmp_path / "train" / "0000.parquet", part.take(range(20)))
    write(tmp_path / "test" / "0000.parquet", part.take(range(20, 40)))
    assert same_images(load(tmp_path).test, part.take(range(20, 40)))


def test_one_file_has_some_held_out(part: LabelledImages, tmp_path: Path) -> None:
    dataset = load(write(tmp_path / "pets.parquet", part, image="img"))
    assert (dataset.name, dataset.class_names) == ("pets", ("0", "1"))
    assert (len(dataset.train), len(dataset.test)) == (32, 8)


def test_a_label_can_be_chosen(part: LabelledImages, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", part, age=["old", "new"] * 20)
    assert load(path, label="age").class_names == ("new", "old")
    with pytest.raises(InputError, match=r"named size; .* \(there: image, label, age\)"):
        load(path, label="size")


def test_labels_without_a_name_are_refused(part: LabelledImages, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", part, ["only one"])
    with pytest.raises(InputError, match=r"row 1 has 1 as label; it must be 0 to 0"):
        load(path)
    path = write(tmp_path / "b.parquet", part, age=[None] * 40)
    with pytest.raises(InputError, match=r"row 0 has None as age; .* whole number or a text"):
        load(path, label="age")


def test_bad_pictures_are_named_by_their_row(part: LabelledImages, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    values = [encode(image) for image in part.images[:10]]
    values[3] = b""
    pq.write_table(pyarrow.table({"image": values, "label": [0, 1] * 5}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a.parquet row 3 is empty: mend or remove"):
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
        with pytest.raises(InputError, match=r"a.parquet is no Parquet file, or a damaged one"):
            load(path)
    middle = bytearray(whole)
    middle[60:5000] = np.random.default_rng(0).bytes(4940)
    path.write_bytes(middle)
    with pytest.raises(InputError, match=r"a.parquet"):
        load(path)


def test_without_pyarrow_the_extra_is_named(
    part: LabelledImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", part)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=re.escape(install_command("parquet"))):
        load(path)
