"""The base of every record: a JSON file of a run directory, checked when it is read.

A run directory can come from a stranger: a value of the wrong type, or text with terminal control
characters, is refused before it is used. The same class writes the file, so that a misspelt or
missing key is an error when it is written.
"""

import json
from collections import ChainMap
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PlainValidator,
    ValidationError,
)

from thumbnet.atomic import write_json
from thumbnet.errors import InputError
from thumbnet.paths import open_regular

# Far more than any file of a run needs; JSON of this size takes up to 400 MB of memory.
MAXIMUM_TEXT_BYTES = 8 * 2**20


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("contains characters that cannot be printed")
    return text


def _is_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is not text")
    return value


Text = Annotated[str, Field(max_length=10_000), AfterValidator(_printable)]
# A path may contain bytes that are not UTF-8, which Pydantic's own type refuses.
Location = Annotated[str, PlainValidator(_is_text)]
# Far above any real count or measurement, and within the range that charts can show.
_MOST = 10**24
Count = Annotated[int, Field(ge=0, le=_MOST)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, le=_MOST)]
Measured = Annotated[float, Field(ge=-3.4e38, le=3.4e38)]  # the range of float32
CHECKED = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


class Record(BaseModel):
    """The JSON object of a file.

    Unknown keys are kept: a newer version may have written the file.
    """

    model_config = CHECKED
    __pydantic_extra__: dict[Text, JsonValue]


Read = TypeVar("Read", bound=BaseModel)


def read_record(path: Path, kind: type[Read]) -> Read:
    """Read a JSON file and check it.

    Args:
        path: the file.
        kind: the class of the record.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is not a JSON object, lacks a key, or has a value of the wrong type or range.
    """
    try:
        # Not pydantic's parser, which refuses text that is not UTF-8, such as some paths.
        return kind.model_validate(json.loads(read_bounded_text(path)))
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {describe_problem(error)}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: it is not JSON: {error}") from error


def merge_records(kind: type[Read], *parts: BaseModel) -> Read:
    """One record with the keys of several; a later one's values replace an earlier one's."""
    values = [part.model_dump() for part in parts]
    return kind.model_validate(dict(ChainMap(*reversed(values))))


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON."""
    write_json(path, record.model_dump())


def read_bounded_text(path: Path) -> str:
    """The UTF-8 text of a file of limited size.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be read, is too large, or is not text.
    """
    try:
        with open_regular(path) as file:
            content = file.read(MAXIMUM_TEXT_BYTES + 1)
        if len(content) > MAXIMUM_TEXT_BYTES:
            raise InputError(
                f"{path} is larger than the {MAXIMUM_TEXT_BYTES:,} bytes that are read"
            )
        return content.decode()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is damaged: it is not UTF-8 text") from error


def describe_problem(error: ValidationError) -> str:
    """A description of the first refused value that is safe to print."""
    first = error.errors()[0]
    # Keys may come from a stranger: they are escaped and shortened before they are printed.
    parts = [str(part) for part in first["loc"][:8]]
    key = ".".join(part if part.isprintable() else repr(part) for part in parts)[:200]
    if first["type"] == "missing":
        return f"it has no {key}"
    return f"{key or 'the file'}: {first['msg'].removeprefix('Value error, ')}"
