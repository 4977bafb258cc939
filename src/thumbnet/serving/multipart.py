"""Reads the files of a form (multipart/form-data, RFC 7578) that is in memory.

Streaming parsers work byte by byte; in Python, 16 MiB can take one 20 seconds. Here the whole body
is in memory, and `bytearray.find` splits it at its boundaries.
"""

import re
from typing import NamedTuple

from thumbnet.serving.problems import RequestError

_BOUNDARY = re.compile(
    r'multipart/form-data\s*;.{0,200}?boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE
)
_DISPOSITION = re.compile(r"^content-disposition:\s*form-data\b(.*)$", re.IGNORECASE | re.MULTILINE)
_FILE_NAME = re.compile(r';\s*filename=(?:"([^"\\]*(?:\\.[^"\\]*)*)"|([^\s;"]*))', re.IGNORECASE)
_HEAD_BYTES, _PADDING_BYTES = 2_048, 80


class File(NamedTuple):
    """A file of a form.

    Attributes:
        name: the client's name for it, unchecked.
        content: its bytes, a view of the form's.
    """

    name: str
    content: memoryview


def read_files(content_type: str, body: bytearray, maximum_parts: int) -> list[File]:
    """The files of a form; other fields are ignored.

    Args:
        content_type: the Content-Type header.
        body: the form.
        maximum_parts: maximum number of files and fields.

    Raises:
        RequestError: it is not a form, or has too many parts.
    """
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise _unreadable("its Content-Type names no boundary")
    delimiter = b"--" + (found[1] or found[2]).encode("latin-1", "replace")
    start = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if start == 1:
        raise _unreadable("it does not contain its boundary")
    files: list[File] = []
    for _ in range(maximum_parts + 1):
        after = start + len(delimiter)
        if body[after : after + 2] == b"--":
            return files
        head = body.find(b"\r\n", after, after + _PADDING_BYTES)
        end = body.find(b"\r\n" + delimiter, head)
        if head < 0 or body[after:head].strip(b" \t") or end < 0:
            raise _unreadable("a boundary is damaged, or the last one is missing")
        content = body.find(b"\r\n\r\n", head, min(end + 2, head + _HEAD_BYTES)) + 4
        if content < 4:
            raise _unreadable("the headers of a part do not end")
        name = _file_name(body[head:content].decode("utf-8", "replace"))
        if name is not None:
            files.append(File(name, memoryview(body)[content : max(content, end)]))
        start = end + 2
    raise RequestError(400, f"the form has more than {maximum_parts:,} parts; send fewer at a time")


def _file_name(head: str) -> str | None:
    """The name of a part's file; None if the part is not a file."""
    disposition = _DISPOSITION.search(head)
    if disposition is None:
        raise _unreadable("a part has no Content-Disposition")
    found = _FILE_NAME.search(disposition[1])
    if found is None:
        return None
    return found[2] if found[1] is None else found[1].replace('\\"', '"').replace("\\\\", "\\")


def _unreadable(reason: str) -> RequestError:
    return RequestError(400, f"the form cannot be read: {reason}")
