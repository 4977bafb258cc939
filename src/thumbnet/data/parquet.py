"""Parquet files with encoded images, as on the Hugging Face hub, or with image paths."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from thumbnet.data.encoded import EncodedImages, file_state
from thumbnet.data.hub import find_parquet, splits_of
from thumbnet.data.labels import LabelColumn, number_labels
from thumbnet.data.listing import TRAIN, Listing
from thumbnet.data.reading import Reading
from thumbnet.data.table import cell_text, find_column, list_table, named_column
from thumbnet.errors import InputError, shown
from thumbnet.installing import install_command

IMAGE_COLUMNS = ("image", "img", "picture")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")
ROWS = 256
"""Number of images read at a time."""
BUFFER = 1 << 20
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class ParquetFile:
    """A file with a column of encoded images.

    Attributes:
        path: the file.
        image: name of the image column.
        labels: one value for each row, with the class names from the metadata.
    """

    path: Path
    image: str
    labels: LabelColumn

    def __len__(self) -> int:
        return len(self.labels.values)


def list_parquet(path: Path, reading: Reading) -> tuple[Listing, EncodedImages]:
    """List the images of one Parquet file, or of all in a folder and its subfolders.

    Column names and the order of the classes may differ between files. If `path` is a file, its
    images are training images, whatever its name.

    Raises:
        InputError: pyarrow is not installed, a file cannot be read or has no images or labels, or
            the labels of different files are ambiguous.
    """
    paths = find_parquet(path) if path.is_dir() else [path]
    parts = splits_of(path, paths) if path.is_dir() else [TRAIN]
    if len(paths) == 1 and _image_column(paths[0], reading) is None:
        return _list_paths(paths[0], reading)
    files = [_open(file, reading) for file in paths]
    training = (file for file, part in zip(files, parts, strict=True) if part == TRAIN)
    first_names = next((file.labels.class_names for file in training), ())
    class_names, labels = number_labels([file.labels for file in files], first_names)
    counts = list(map(len, files))
    listing = Listing(
        path=path,
        title=f"Parquet {'files of' if path.is_dir() else 'file'} {shown(path)}",
        names=[
            f"{file.relative_to(path) if path.is_dir() else file.name} row {row}"
            for file, count in zip(paths, counts, strict=True)
            for row in range(count)
        ],
        class_names=class_names,
        labels=labels,
        splits=np.repeat(np.array(parts, np.int64), counts),
        groups=_groups(paths, reading.group) if reading.group else (),
        has_names=True,
    )
    return listing, ParquetImages(path, tuple(files))


@dataclass(frozen=True, eq=False)
class ParquetImages:
    """The images of several files, one after another.

    Attributes:
        location: the file or folder that the user gave.
        files: the files, with one row per image.
    """

    location: Path
    files: Sequence[ParquetFile]

    def __len__(self) -> int:
        return sum(map(len, self.files))

    def where(self, index: int) -> str:
        ends = list(accumulate(map(len, self.files)))
        number = int(np.searchsorted(ends, index, side="right"))
        file = self.files[number]
        return f"{shown(file.path)} row {index - ends[number] + len(file)}"

    def encoded(self) -> Iterator[Path | bytes]:
        for file in self.files:
            reader = _reader(file.path)
            try:
                for batch in reader.iter_batches(ROWS, columns=[file.image]):
                    for value in batch.column(0).to_pylist():
                        yield _content(value, file.path)
            except (OSError, ValueError) as error:  # includes pyarrow's own exceptions
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{shown(file.path)} is damaged: {error}") from error

    def fingerprint(self) -> str:
        state = [f"{file.image} {file.path} {file_state(file.path)}" for file in self.files]
        return sha256("".join(state).encode(errors="replace")).hexdigest()


def _content(value: Any, file: Path) -> Path | bytes:
    """The bytes of an image, or its path if the column contains that instead."""
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            return file.parent / str(value["path"])
        value = value.get("bytes")
    return value if isinstance(value, bytes) else b""


def _reader(file: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile as Reader
    except ImportError as error:
        raise InputError(
            f"reading {shown(file)} requires pyarrow, which is not installed: "
            f"{install_command('parquet')}"
        ) from error
    try:
        # Without a buffer, a whole row group would be read at once.
        return Reader(file, buffer_size=BUFFER)
    except (ArrowException, OSError, ValueError) as error:
        if _is_lfs_pointer(file):
            raise InputError(
                f"{shown(file)} is a Git LFS pointer; download the content with `git lfs pull`"
            ) from error
        raise InputError(f"{shown(file)} is not a Parquet file, or is damaged: {error}") from error


def _is_lfs_pointer(file: Path) -> bool:
    try:
        with open(file, "rb") as content:
            return content.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return False


def _open(path: Path, reading: Reading) -> ParquetFile:
    schema = _reader(path).schema_arrow
    image = _image_column(path, reading)
    if image is None:
        wanted = f" named {reading.path_column}" if reading.path_column else ""
        raise InputError(
            f"{shown(path)} has no column of encoded images{wanted} (its columns: "
            f"{', '.join(map(shown, schema.names))})"
        )
    label = _label_column(path, schema, reading)
    title = f"the column {shown(label)} of {shown(path)}"
    labels = LabelColumn(title, _column(path, label), _names_in_metadata(schema, label))
    return ParquetFile(path, image, labels)


def _groups(paths: Sequence[Path], group: str) -> list[str]:
    """The group of each row, from the column `group`."""
    groups = []
    for path in paths:
        names = _reader(path).schema_arrow.names
        found = named_column(dict.fromkeys(names), group)
        if found is None:
            raise InputError(
                f"--group {group}: {shown(path)} has no such column (its columns: "
                f"{', '.join(map(shown, names))})"
            )
        groups += list(map(cell_text, _column(path, found)))
    return groups


def _column(file: Path, name: str) -> list[Any]:
    from pyarrow import ArrowException

    try:
        values: list[Any] = _reader(file).read(columns=[name]).column(0).to_pylist()
    except (ArrowException, OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"the column {name} of {shown(file)} cannot be read: {error}") from error
    return values


def _image_column(file: Path, reading: Reading) -> str | None:
    """The column of bytes, or of structs with a field `bytes`; common names are preferred."""
    schema = _reader(file).schema_arrow
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    encoded = {}
    for column in schema:
        is_struct = types.is_struct(column.type)
        fields = {field.name: field.type for field in column.type} if is_struct else {}
        if is_bytes(column.type) or ("bytes" in fields and is_bytes(fields["bytes"])):
            encoded[str(column.name)] = column
    if reading.path_column is not None:
        return named_column(encoded, reading.path_column)
    return find_column(encoded, IMAGE_COLUMNS) or next(iter(encoded), None)


def _label_column(file: Path, schema: Any, reading: Reading) -> str:
    columns = dict.fromkeys(schema.names)
    if reading.label is None:
        found = find_column(columns, LABEL_COLUMNS)
    else:
        found = named_column(columns, reading.label)
    if found is None:
        asked = reading.label or " or ".join(LABEL_COLUMNS)
        raise InputError(
            f"{shown(file)} has no label column named {asked}; choose a column with --label (its "
            f"columns: {', '.join(map(shown, schema.names))})"
        )
    return found


def _names_in_metadata(schema: Any, label: str) -> tuple[str, ...]:
    """The class names that the library `datasets` stores in the schema metadata."""
    try:
        stored = json.loads(schema.metadata[b"huggingface"])
        names = stored["info"]["features"][label]["names"]
        return tuple(shown(name) for name in names) if isinstance(names, list) else ()
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()


def _list_paths(file: Path, reading: Reading) -> tuple[Listing, EncodedImages]:
    """Read a Parquet file as a table of paths."""
    columns = {name: _column(file, name) for name in _reader(file).schema_arrow.names}
    rows = len(next(iter(columns.values()), []))
    return list_table(file, columns, reading, range(1, rows + 1))
