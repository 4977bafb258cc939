"""The base of every record: a JSON file of a run directory, checked when it is read.

A run directory can come from a stranger: a value of another type, or text that would play with
the terminal, is refused before anything is done with it. The same class writes the file, so that
a misspelt or missing key is an error where it is made.
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

# Far more than any file of a run needs; JSON of this size takes up to 400 MB when it is read.
MAXIMUM_TEXT_BYTES = 8 * 2**20


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


def _is_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("is no text")
    return value


Text = Annotated[str, Field(max_length=10_000), AfterValidator(_printable)]
# A path may hold bytes that are no UTF-8, which Pydantic's own type refuses.
Location = Annotated[str, PlainValidator(_is_text)]
# Far above what can be counted or measured, and within what charts can show.
_MOST = 10**24
Count = Annotated[int, Field(ge=0, le=_MOST)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[float, Field(ge=0, le=_MOST)]
Measured = Annotated[float, Field(ge=-3.4e38, le=3.4e38)]  # what float32 can hold
CHECKED = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


class Record(BaseModel):
    """A JSON object of a file.

    Keys that this version does not know are kept: a newer version may have written the file.
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
        InputError: it holds no JSON object, lacks a key, or has a value of another type or range.
    """
    try:
        # Not pydantic's own parser, which refuses text that is no UTF-8, as a path may be.
        return kind.model_validate(json.loads(read_bounded_text(path)))
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {describe_problem(error)}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: it is no JSON: {error}") from error


def merge_records(kind: type[Read], *parts: BaseModel) -> Read:
    """One record with the keys of several; a later one's values replace an earlier one's."""
    values = [part.model_dump() for part in parts]
    return kind.model_validate(dict(ChainMap(*reversed(values))))


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as JSON."""
    write_json(path, record.model_dump())


def read_bounded_text(path: Path) -> str:
    """The UTF-8 text of a file that is not absurdly large.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be read, is too large, or is no text.
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
        raise InputError(f"{path} is damaged: it is no UTF-8 text") from error


def describe_problem(error: ValidationError) -> str:
    """The first value that was refused, in words that are safe to print."""
    first = error.errors()[0]
    # A stranger chose the keys: none of them may reach the terminal as it is, or fill it.
    parts = [str(part) for part in first["loc"][:8]]
    key = ".".join(part if part.isprintable() else repr(part) for part in parts)[:200]
    if first["type"] == "missing":
        return f"it holds no {key}"
    return f"{key or 'the whole'}: {first['msg'].removeprefix('Value error, ')}"
