"""Downloading a file of known size and digest."""

import hashlib
import http.client
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thumbnet.data.sources.patience import Patience, Progress, Watch
from thumbnet.errors import JobError

if TYPE_CHECKING:
    import requests

CHUNK = 1 << 18


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        url: its URL.
        size: its size in bytes.
        sha256: its SHA-256 in hexadecimal.
    """

    url: str
    size: int
    sha256: str


class _InterruptedTransferError(Exception):
    """A transfer was interrupted; another attempt may resume it."""


def download(remote: RemoteFile, path: Path, progress: Progress, patience: Patience) -> None:
    """Download a file, resuming after an interruption.

    Args:
        remote: the file to download.
        path: the file to write, which must not exist; its directory must exist.
        progress: called after every chunk.
        patience: time limits.

    Raises:
        JobError: the download fails, is too slow, or is not the published file.
    """
    for attempt in range(1, patience.attempts + 1):
        try:
            _receive(remote, path, progress, patience)
            break
        except _InterruptedTransferError as error:
            if attempt == patience.attempts:
                raise JobError(f"{remote.url}: {error} ({attempt} attempts)") from error
            time.sleep(attempt * patience.pause)
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != remote.sha256:
        raise JobError(
            f"{remote.url} is not the published file: expected SHA-256 {remote.sha256}, "
            f"found {found}"
        )


def _receive(remote: RemoteFile, path: Path, progress: Progress, patience: Patience) -> None:
    """Append the missing bytes to `path`, or start over if the server cannot resume."""
    from urllib3.exceptions import HTTPError

    received = path.stat().st_size if path.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
    with _request(remote.url, headers, patience) as response:
        received = _check_response(response, remote, received)
        watch = Watch(patience, received)
        with open(path, "ab" if received else "wb") as file:
            while received < remote.size:
                try:
                    # Not iter_content, which waits until a whole chunk has arrived.
                    piece = response.raw.read1(
                        min(CHUNK, remote.size - received), decode_content=False
                    )
                except (HTTPError, http.client.HTTPException, OSError) as error:
                    raise _InterruptedTransferError(_reason(error)) from error
                if not piece:
                    raise _InterruptedTransferError(
                        f"the connection ended after {received} of {remote.size} bytes"
                    )
                file.write(piece)
                received += len(piece)
                progress(received, remote.size)
                try:
                    watch.check(received)
                except JobError as error:
                    raise JobError(f"{remote.url}: {error}") from error


def _check_response(response: "requests.Response", remote: RemoteFile, received: int) -> int:
    """Check the response and return the offset of its first byte in the file."""
    status = response.status_code
    if status >= 500:
        raise _InterruptedTransferError(f"the server responded with {status} {response.reason}")
    if status not in (200, 206):
        raise JobError(f"{remote.url}: the server responded with {status} {response.reason}")
    begin = received if status == 206 else 0
    content_range = response.headers.get("Content-Range", "")
    if status == 206 and not content_range.startswith(f"bytes {received}-"):
        raise JobError(
            f"{remote.url}: requested the bytes from {received}, but the server sent "
            f"{content_range!r}"
        )
    announced = response.headers.get("Content-Length")
    if announced is not None and announced != str(remote.size - begin):
        raise JobError(
            f"{remote.url}: the server announced {announced} bytes; expected {remote.size - begin}"
        )
    return begin


def _request(url: str, headers: dict[str, str], patience: Patience) -> "requests.Response":
    """Send the request and wait for the response header.

    This runs in a thread because DNS lookups have no timeout, and because socket timeouts restart
    for each address and each line of the header.
    """
    import requests

    answer: Future[requests.Response] = Future()

    def ask() -> None:
        try:
            answer.set_result(
                requests.get(
                    url,
                    headers=headers,
                    stream=True,
                    timeout=(patience.connect, patience.silence),
                )
            )
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.result(patience.answer)
    except TimeoutError as error:
        answer.add_done_callback(_close_late_response)
        raise JobError(f"{url}: no response within {patience.answer:g} s") from error
    except requests.RequestException as error:
        raise JobError(f"{url}: {_reason(error)}") from error


def _close_late_response(late: "Future[requests.Response]") -> None:
    """Close the connection of a response that arrived too late."""
    if late.exception() is None:
        late.result().close()


def _reason(error: Exception) -> str:
    """The underlying reason, without the wrappers of requests and urllib3."""
    inner = error.args[0] if error.args else error
    text = str(getattr(inner, "reason", inner))
    return text.split("): ", 1)[-1]
