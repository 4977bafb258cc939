"""Parquet files: the layout of image data sets on the Hugging Face hub, or a table of paths."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from thumbnet.data.listing import SPLITS, TRAIN, Listing, numbered_classes
from thumbnet.data.pictures import Pictures, file_state
from thumbnet.data.reading import Reading
from thumbnet.data.table import find_column, list_table
from thumbnet.errors import InputError, shown
from thumbnet.installing import install_command

LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")
ROWS = 256
"""Pictures that are read at a time."""
BUFFER = 1 << 20


def list_parquet(path: Path, reading: Reading) -> tuple[Listing, Pictures]:
    """List the pictures of one Parquet file, or of all in a folder and its sub-folders.

    The part that a file belongs to is the beginning of its name (`train-00000-of-00002.parquet`)
    or the name of its folder (`train/0000.parquet`).

    Raises:
        InputError: pyarrow is not installed, or a file cannot be read or holds something else.
    """
    files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    schema = _reader(files[0]).schema_arrow
    image = _image_column(schema)
    if image is None:
        if len(files) > 1:
            raise InputError(f"{shown(files[0])} has no column of encoded images")
        return _list_paths(path, reading)
    label = _label_column(files[0], schema, reading)
    values: list[Any] = []
    splits: list[int] = []
    for file in files:
        some = _column(file, label)
        values += some
        splits += [_split(file)] * len(some)
    class_names, labels = _classes(schema, label, values, path)
    listing = Listing(
        path=path,
        title=f"Parquet {'files of' if path.is_dir() else 'file'} {shown(path)}",
        names=[str(row) for row in range(len(values))],
        class_names=class_names,
        labels=labels,
        splits=np.array(splits, np.int64),
    )
    return listing, ParquetPictures(path, tuple(files), image, len(values))


@dataclass(frozen=True, eq=False)
class ParquetPictures:
    """A column of encoded pictures.

    Attributes:
        location: what the user named.
        files: the files that have the column.
        column: its name.
        count: rows of all files.
    """

    location: Path
    files: Sequence[Path]
    column: str
    count: int

    def __len__(self) -> int:
        return self.count

    def where(self, index: int) -> str:
        return f"{shown(self.location)} row {index}"

    def encoded(self) -> Iterator[Path | bytes]:
        for file in self.files:
            reader = _reader(file)
            try:
                for batch in reader.iter_batches(ROWS, columns=[self.column]):
                    for value in batch.column(0).to_pylist():
                        yield _content(value, file)
            except OSError as error:  # pyarrow's own kinds are among these and ValueError
                raise InputError(f"{shown(file)} is damaged: {error}") from error
            except ValueError as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"{shown(file)} is damaged: {error}") from error

    def fingerprint(self) -> str:
        state = [f"{file} {file_state(file)}" for file in self.files]
        return sha256("".join([self.column, *state]).encode(errors="replace")).hexdigest()


def _content(value: Any, file: Path) -> Path | bytes:
    """The bytes of a picture, or its file where the column names one instead."""
    if isinstance(value, dict):
        if value.get("bytes") is None and value.get("path"):
            return file.parent / str(value["path"])
        value = value.get("bytes")
    return value if isinstance(value, bytes) else b""


def _reader(file: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(
            f"{shown(file)} can be read with pyarrow only, which is not installed: "
            f"{install_command('parquet')}"
        ) from error
    try:
        # With a buffer, or else all of a row group would be read at once.
        return ParquetFile(file, buffer_size=BUFFER)
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"{shown(file)} is no Parquet file, or a damaged one: {error}") from error


def _column(file: Path, name: str) -> list[Any]:
    from pyarrow import ArrowException

    try:
        values: list[Any] = _reader(file).read(columns=[name]).column(0).to_pylist()
    except (ArrowException, OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"the column {name} of {shown(file)} cannot be read: {error}") from error
    return values


def _image_column(schema: Any) -> str | None:
    """The first column of bytes, or of structures with a field of bytes."""
    from pyarrow import types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    for column in schema:
        is_struct = types.is_struct(column.type)
        fields = {field.name: field.type for field in column.type} if is_struct else {}
        if is_bytes(column.type) or ("bytes" in fields and is_bytes(fields["bytes"])):
            return str(column.name)
    return None


def _label_column(file: Path, schema: Any, reading: Reading) -> str:
    if reading.label is not None:
        found = reading.label if reading.label in schema.names else None
    else:
        found = find_column(dict.fromkeys(schema.names), LABEL_COLUMNS)
    if found is None:
        asked = reading.label or " or ".join(LABEL_COLUMNS)
        raise InputError(
            f"{shown(file)} has no column of labels named {asked}; give the name of one of its "
            f"columns with --label (there: {', '.join(schema.names)})"
        )
    return found


def _classes(
    schema: Any, label: str, values: list[Any], path: Path
) -> tuple[tuple[str, ...], np.ndarray[Any, np.dtype[np.int64]]]:
    """Class names and labels, by the names in the metadata if there are such."""
    names = _names_in_metadata(schema, label)
    for row, value in enumerate(values):
        plain = isinstance(value, int | str) and not isinstance(value, bool)
        if not plain or (names and not (isinstance(value, int) and 0 <= value < len(names))):
            raise InputError(
                f"{shown(path)} row {row} has {value!r:.40} as {label}; it must be "
                + (f"0 to {len(names) - 1}" if names else "a whole number or a text")
                + ": remove such rows, or choose another column with --label"
            )
    if names:
        return names, np.array(values, np.int64)
    return numbered_classes([shown(str(value)) for value in values])


def _names_in_metadata(schema: Any, label: str) -> tuple[str, ...]:
    """The class names that the library `datasets` stores beside the schema."""
    try:
        stored = json.loads(schema.metadata[b"huggingface"])
        names = stored["info"]["features"][label]["names"]
        return tuple(shown(name) for name in names) if isinstance(names, list) else ()
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()


def _list_paths(file: Path, reading: Reading) -> tuple[Listing, Pictures]:
    """A Parquet file as a table of paths."""
    names = _reader(file).schema_arrow.names
    columns = {}
    for name in names:
        values = _column(file, name)
        columns[name] = ["" if value is None else str(value) for value in values]
    rows = len(next(iter(columns.values()), []))
    return list_table(file, columns, reading, range(1, rows + 1))


def _split(file: Path) -> int:
    beginning = re.split(r"[-_.]", file.name.lower(), maxsplit=1)[0]
    return SPLITS.get(beginning, SPLITS.get(file.parent.name.lower(), TRAIN))
