"""Downloading one file whose size and digest are known beforehand."""

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
        url: its address.
        size: its length in bytes.
        sha256: hexadecimal SHA-256 of its bytes.
    """

    url: str
    size: int
    sha256: str


class _CutOffError(Exception):
    """A transfer broke off; another attempt may go on with it."""


def download(remote: RemoteFile, path: Path, progress: Progress, patience: Patience) -> None:
    """Download a file, going on where an attempt broke off.

    Args:
        remote: what to download.
        path: a file that does not exist yet; its directory does.
        progress: called after every piece.
        patience: when to give up.

    Raises:
        JobError: it cannot be had, comes too slowly, or is not the file that was published.
    """
    for attempt in range(1, patience.attempts + 1):
        try:
            _receive(remote, path, progress, patience)
            break
        except _CutOffError as error:
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
    """Append to `path` what it lacks; a server that cannot resume sends all of it again."""
    from urllib3.exceptions import HTTPError

    received = path.stat().st_size if path.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if received:
        headers["Range"] = f"bytes={received}-"
    with _answer(remote.url, headers, patience) as response:
        received = _check_answer(response, remote, received)
        watch = Watch(patience, received)
        with open(path, "ab" if received else "wb") as file:
            while received < remote.size:
                try:
                    # Not iter_content, which holds back what a slow server sends until a whole
                    # piece is there.
                    piece = response.raw.read1(
                        min(CHUNK, remote.size - received), decode_content=False
                    )
                except (HTTPError, http.client.HTTPException, OSError) as error:
                    raise _CutOffError(_reason(error)) from error
                if not piece:
                    raise _CutOffError(
                        f"the connection ended after {received} of {remote.size} bytes"
                    )
                file.write(piece)
                received += len(piece)
                progress(received, remote.size)
                try:
                    watch.check(received)
                except JobError as error:
                    raise JobError(f"{remote.url}: {error}") from error


def _check_answer(response: "requests.Response", remote: RemoteFile, received: int) -> int:
    """From which byte on the answer holds the file."""
    status = response.status_code
    if status >= 500:
        raise _CutOffError(f"the server answers {status} {response.reason}")
    if status not in (200, 206):
        raise JobError(f"{remote.url}: the server answers {status} {response.reason}")
    begin = received if status == 206 else 0
    content_range = response.headers.get("Content-Range", "")
    if status == 206 and not content_range.startswith(f"bytes {received}-"):
        raise JobError(
            f"{remote.url}: asked to go on from byte {received}, the server sends {content_range!r}"
        )
    announced = response.headers.get("Content-Length")
    if announced is not None and announced != str(remote.size - begin):
        raise JobError(
            f"{remote.url}: the server announces {announced} bytes, where {remote.size - begin} "
            "are published"
        )
    return begin


def _answer(url: str, headers: dict[str, str], patience: Patience) -> "requests.Response":
    """Ask, and wait for the head of the answer.

    In a thread, because looking up a name knows no time-out, and because the time-outs of a
    socket count anew for each address and each line of the head.
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
        answer.add_done_callback(_put_away)
        raise JobError(f"{url}: no answer within {patience.answer:g} s") from error
    except requests.RequestException as error:
        raise JobError(f"{url}: {_reason(error)}") from error


def _put_away(late: "Future[requests.Response]") -> None:
    """Close the connection of an answer that nobody waits for any more."""
    if late.exception() is None:
        late.result().close()


def _reason(error: Exception) -> str:
    """What went wrong, out of the layers that requests and urllib3 wrap it in."""
    inner = error.args[0] if error.args else error
    text = str(getattr(inner, "reason", inner))
    return text.split("): ", 1)[-1]
