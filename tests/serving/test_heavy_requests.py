"""Requests that would take much time or memory are limited, refused, and block no others."""

import asyncio
import contextlib
import gc
import io
import os
import sys
import time
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from PIL import Image
from server_process import Serve, Server

from thumbnet.data import images as reading
from thumbnet.serving import decoding
from thumbnet.serving.decoding import Picture, Pictures
from thumbnet.serving.multipart import File, read_files
from thumbnet.serving.parsing import Parser
from thumbnet.serving.problems import RequestError
from thumbnet.serving.settings import Settings

_Result = TypeVar("_Result")
FORM = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="f"; filename="%b"\r\n\r\n%b\r\n'
MEBIBYTE = 2**20


def _lines_run(function: Callable[[], object]) -> int:
    """How many lines of Python a function executes, including the functions it calls."""
    lines = 0

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize(
    "form",
    [
        b"--x\r\n" + b"\r\n--x" * 3_000_000,
        b"--x" + b" " * 16_000_000,
        b"\r\n--" * 4_000_000,
        PART % (b"a.png", b"\r\n-" * 5_000_000) + b"--x--",
        PART % (b"a.png", b"\r\n--y" * 3_000_000),
        b"--x\r\nContent-Disposition: form-data" + b"; " * 8_000_000,
    ],
    ids=["boundaries", "spaces", "beginnings", "a file of beginnings", "no end", "a long head"],
)
def test_forms_are_not_read_byte_by_byte(form: bytes) -> None:
    def read() -> None:
        with contextlib.suppress(RequestError):
            read_files(FORM, bytearray(form), 1_024)

    assert _lines_run(read) < 1_000


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'name="f"; filename="cat.png"', "cat.png"),
        (b'name="f"; filename=cat.png', "cat.png"),
        (b'filename="a \\"b\\".png"; name="f"', 'a "b".png'),
        (b'name="filename=x"; filename="\xc3\xa9.png"', "é.png"),
        (b'name="f"; filename=""', ""),
    ],
)
def test_the_names_and_contents_of_a_forms_files_are_read(head: bytes, name: str) -> None:
    content = b"\r\n--\r\n\r\n--y\x00"
    form = (
        b'preamble\r\n--x \r\nContent-Disposition: form-data; name="top"\r\n\r\n3'
        b"\r\n--x\r\nContent-Type: image/png\r\ncontent-disposition: form-data; "
        + head
        + b"\r\n\r\n"
        + content
        + b"\r\n--x--\r\nepilogue"
    )
    assert read_files(FORM, bytearray(form), 2) == [File(name, memoryview(content))]
    quoted = 'Multipart/Form-Data; charset=utf-8; Boundary="x"'
    assert read_files(quoted, bytearray(form), 2)[0].name == name
    with pytest.raises(RequestError, match="more than 1 parts"):
        read_files(FORM, bytearray(form), 1)


def _process(body: bytes) -> int:
    return os.getpid()


def _fail(body: bytes) -> None:
    raise RequestError(418, "teapot", 7)


def _crash(body: bytes) -> None:
    os.abort()


def _take_memory(body: bytes) -> int:
    return len(bytearray(2**30))


def _with_parser(use: Callable[[Parser], Awaitable[_Result]]) -> _Result:
    async def main() -> _Result:
        parser = Parser()
        try:
            return await use(parser)
        finally:
            parser.close()

    return asyncio.run(main())


def test_long_bodies_are_parsed_in_another_process_and_short_ones_directly() -> None:
    long = b" " * 100_000

    async def use(parser: Parser) -> tuple[int, int, int]:
        return (
            await parser.parse(_process, b""),
            await parser.parse(_process, long),
            await parser.parse(_process, long),
        )

    short, first, second = _with_parser(use)
    assert short == os.getpid()
    assert first == second != short


@pytest.mark.parametrize(("function", "status"), [(_fail, 418), (_crash, 413), (_take_memory, 413)])
def test_errors_of_the_parsing_process_become_responses(
    function: Callable[[bytes], Any], status: int
) -> None:
    async def use(parser: Parser) -> int:
        with pytest.raises(RequestError) as refused:
            await parser.parse(function, b" " * 100_000)
        assert refused.value.status == status
        return await parser.parse(_process, b" " * 100_000)

    assert _with_parser(use) != os.getpid()


class Content(bytearray):
    """Bytes that can be watched."""


def _wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)


def _waiting_parser_body(body: bytes, path: str) -> int:
    _wait_for(path)
    return len(body)


@pytest.mark.slow
def test_bodies_of_cancelled_requests_do_not_wait_for_the_parser(tmp_path: Path) -> None:
    async def use(parser: Parser) -> int:
        first = asyncio.create_task(
            parser.parse(_waiting_parser_body, b" " * 100_000, str(tmp_path / "go"))
        )
        kept = []
        for _ in range(3):
            body = Content(100_000)
            kept.append(weakref.ref(body))
            second = asyncio.create_task(parser.parse(_process, body))
            del body
            await asyncio.sleep(0.01)
            second.cancel()
            await asyncio.sleep(0.01)
            del second
        gc.collect()
        left = [reference() for reference in kept if reference() is not None]
        (tmp_path / "go").touch()
        assert left == []
        return await first

    assert _with_parser(use) == 100_000


def test_a_cancelled_call_ends_before_the_next_one_begins(tmp_path: Path) -> None:
    async def use(parser: Parser) -> int:
        first = asyncio.create_task(
            parser.parse(_waiting_parser_body, b" " * 100_000, str(tmp_path / "go"))
        )
        await asyncio.sleep(0.01)
        first.cancel()
        second = asyncio.create_task(parser.parse(_process, b" " * 100_000))
        await asyncio.sleep(0.01)
        is_done = second.done()
        (tmp_path / "go").touch()
        assert not is_done
        return await second

    assert _with_parser(use) != os.getpid()


def _png(side: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, "PNG")
    return file.getvalue()


def _with_pictures(use: Callable[[Pictures], Awaitable[_Result]], settings: Settings) -> _Result:
    async def main() -> _Result:
        pictures = Pictures(settings)
        try:
            return await use(pictures)
        finally:
            pictures.close()

    return asyncio.run(main())


SHAPE = (32, 32, 3)


def test_images_beyond_the_queue_limit_are_refused_and_the_others_read() -> None:
    file = File("a.png", memoryview(_png(100)))

    async def use(pictures: Pictures) -> list[Picture | str]:
        with pytest.raises(RequestError, match="50,000 pixels in total") as alone:
            await pictures.read([file] * 5, SHAPE)
        assert alone.value.status == 413
        taken = [asyncio.create_task(pictures.read([file] * 2, SHAPE)) for _ in range(3)]
        answers = await asyncio.gather(*taken, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, RequestError)]
        assert [(answer.status, answer.retry_after) for answer in refused] == [(503, 1)]
        return await pictures.read([file] * 4, SHAPE)

    found = _with_pictures(use, Settings(pixels=10_000, queue_pixels=40_000))
    assert [isinstance(picture, Picture) for picture in found] == [True] * 4


def test_images_of_cancelled_requests_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def open_picture(content: bytes, name: str, *more: Any, **named: Any) -> reading.Picture:
        decoded.append(name)
        return reading.open_picture(content, name, *more, **named)

    monkeypatch.setattr(decoding, "open_picture", open_picture)
    content = memoryview(_png(100))

    async def use(pictures: Pictures) -> None:
        files = [File(f"{number}", content) for number in range(200)]
        abandoned = asyncio.create_task(pictures.read(files, SHAPE))
        async with asyncio.timeout(60):
            while not decoded:
                await asyncio.sleep(0)
        abandoned.cancel()
        (mine,) = await pictures.read([File("mine", content)], SHAPE)
        assert isinstance(mine, Picture)

    _with_pictures(use, Settings(pixels=10_000, queue_pixels=2_000_000))
    assert len(decoded) < 10
    assert decoded[-1] == "mine"


def test_bodies_of_cancelled_requests_do_not_wait_to_be_decoded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def open_picture(content: bytes, name: str, *more: Any, **named: Any) -> reading.Picture:
        _wait_for(str(tmp_path / "go"))
        return reading.open_picture(content, name, *more, **named)

    monkeypatch.setattr(decoding, "open_picture", open_picture)

    async def use(pictures: Pictures) -> None:
        first = asyncio.create_task(pictures.read([File("1", memoryview(_png(100)))], SHAPE))
        await asyncio.sleep(0.05)
        content = Content(_png(100))
        kept = weakref.ref(content)
        second = asyncio.create_task(pictures.read([File("2", memoryview(content))], SHAPE))
        del content
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.sleep(0.01)
        del second
        gc.collect()
        is_kept = kept() is not None
        (tmp_path / "go").touch()
        assert not is_kept
        (picture,) = await first
        assert isinstance(picture, Picture)

    _with_pictures(use, Settings(pixels=10_000, queue_pixels=40_000))


def test_the_pixel_limit_of_one_image_applies_to_all_that_are_decoded_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once: list[int] = []
    most: list[int] = []

    def open_picture(content: bytes, name: str, *more: Any, **named: Any) -> reading.Picture:
        at_once.append(int(name))
        most.append(sum(at_once))
        try:
            return reading.open_picture(content, name, *more, **named)
        finally:
            at_once.remove(int(name))

    monkeypatch.setattr(decoding, "open_picture", open_picture)
    files = [
        File(str(side * side), memoryview(_png(side))) for side in (100, 50, 50, 50, 90, 100, 20)
    ]

    async def use(pictures: Pictures) -> list[Picture | str]:
        return await pictures.read(files, SHAPE)

    found = _with_pictures(use, Settings(pixels=10_000, queue_pixels=2_000_000))
    assert [picture.name for picture in found if isinstance(picture, Picture)] == [
        file.name for file in files
    ]
    assert max(most) <= 10_000


def _peak(process_id: int) -> int:
    """The peak memory of a process in bytes."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1_024
    raise AssertionError


def _forget_peak(process_id: int) -> int:
    """Count the peak memory of a process from now on; returns what it has."""
    Path(f"/proc/{process_id}/clear_refs").write_text("5")
    return _peak(process_id)


def _children(process_id: int) -> list[int]:
    found = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(child) for path in found for child in path.read_text().split()]


def test_json_that_expands_in_memory_is_refused_outside_the_service_process(server: Server) -> None:
    body = b'{"instances":[' + b"{}," * (5 * MEBIBYTE) + b"{}]}"

    def ask(body: bytes) -> None:
        for path in ("/v1/models/first:predict", "/v2/models/first/infer"):
            answer = server.client.post(path, content=body)
            assert answer.status_code in (400, 413)

    ask(b'{"inputs":[' + b" " * 15 * MEBIBYTE + b"]}")  # as long, but does not expand
    before = _peak(server.process.pid)
    ask(body)
    assert _peak(server.process.pid) - before < 32 * MEBIBYTE
    (child,) = _children(server.process.pid)
    assert _peak(child) < 360 * MEBIBYTE


def test_a_form_of_large_images_is_refused_by_their_pixels(server: Server) -> None:
    large = _png(4_000)
    files = [("files", (f"{number}.png", large)) for number in range(9)]
    answer = server.client.post("/classify", files=files)
    assert answer.status_code == 413
    assert "144,000,000 pixels in total" in answer.json()["error"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["I;16", "RGBA", "LA"])
def test_sixteen_forms_of_the_largest_images_take_bounded_memory(serve: Serve, mode: str) -> None:
    """The service must fit into the 1 GiB of deploy/kserve.yaml, beside the JSON parser's 320."""
    image = io.BytesIO()
    if mode == "I;16":
        rows = np.arange(4_000 * 4_000, dtype=np.uint32) % 65_536
        Image.fromarray(rows.astype(np.uint16).reshape(4_000, 4_000)).save(image, "PNG")
    else:
        Image.new(mode, (4_000, 4_000)).save(image, "PNG")
    with serve() as server, ThreadPoolExecutor(16) as threads:
        before = _forget_peak(server.process.pid)

        def send(number: int) -> int:
            files = [("files", ("a.png", image.getvalue()))]
            return httpx.post(f"{server.address}/classify", files=files, timeout=120).status_code

        statuses = set(threads.map(send, range(16)))
        assert 200 in statuses
        assert statuses <= {200, 503}
        assert _peak(server.process.pid) - before < 240 * MEBIBYTE
        assert server.process.poll() is None
