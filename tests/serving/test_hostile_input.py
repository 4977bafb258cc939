"""Whatever is sent, the response is one sentence and the service keeps running."""

import contextlib
import gzip
import io
import json
import socket
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from schemathesis.core.result import Ok
from server_process import Server

INFER = "/v2/models/first/infer"
PREDICT = "/v1/models/first:predict"
PIXEL = [[[0, 0, 0]] * 32] * 32


def _tensor(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "images", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": [0] * 3072}
    return {"inputs": [tensor | changes]}


def _refused(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    sentence: str = answer.json()["error"]
    for leak in ("Traceback", "/work", "/tmp", "/usr", "site-packages"):
        assert leak not in sentence
    assert "server" not in answer.headers
    return sentence


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        (INFER, _tensor(shape=[1, 32, 32]), "the shape"),
        (INFER, _tensor(shape=[1, 3072]), "images of shape [n, 32, 32, 3]"),
        (INFER, _tensor(shape=[0, 32, 32, 3], data=[]), "can have 1 to 1,024 images; got 0"),
        (INFER, _tensor(shape=[2**40, 32, 32, 3]), "whole numbers"),
        (INFER, _tensor(shape=[True, 32, 32, 3]), "whole numbers"),
        (INFER, _tensor(data=[0.5] * 3072), "whole numbers from 0 to 255"),
        (INFER, _tensor(data=[256] * 3072), "whole numbers from 0 to 255"),
        (INFER, _tensor(data=[[0], [0, 1]]), "nested lists differ in length"),
        (INFER, _tensor(data="pixels"), "nested lists of pixel values"),
        (INFER, _tensor(data=["x" * 30_000] + [""] * 10_000), "whole numbers from 0 to 255"),
        (INFER, _tensor(data=[True] * 3072), "whole numbers from 0 to 255"),
        (INFER, _tensor(data=[[[[[[[[[[0]]]]]]]]]]), "whole numbers from 0 to 255"),
        (INFER, _tensor() | {"id": 3}, '"id" must be text'),
        (INFER, _tensor() | {"id": "x" * 1025}, "at most 1,024 characters"),
        (INFER, _tensor() | {"parameters": {"sequence_id": 1}}, "'sequence_id' is not supported"),
        (
            INFER,
            _tensor() | {"parameters": {"binary_data_output": "false"}},
            "must be true or false",
        ),
        (INFER, _tensor(data=[10**30] * 3072), "whole numbers from 0 to 255"),
        (INFER, _tensor(datatype="FP32"), 'datatype "UINT8"'),
        (INFER, _tensor(name="pixels"), 'name "images"'),
        (INFER, _tensor(parameters={"binary_data_size": 3072}), "0 bytes follow the JSON"),
        (INFER, _tensor(parameters=[1]), "must be an object"),
        (INFER, _tensor() | {"outputs": [{"name": "logits"}]}, 'named "probabilities"'),
        (INFER, _tensor() | {"outputs": 3}, "list of objects"),
        (INFER, {"inputs": []}, "one input"),
        (INFER, [], "must be a JSON object"),
        (PREDICT, {}, 'either "instances" or "inputs"'),
        (PREDICT, {"instances": [PIXEL], "inputs": [PIXEL]}, 'either "instances" or "inputs"'),
        (PREDICT, {"instances": PIXEL}, "images of shape"),
        (PREDICT, {"instances": {}}, "must be a list"),
        (PREDICT, {"instances": [{"b64": "###"}]}, "is not base64"),
        (PREDICT, {"instances": [{"b64": "aGVsbG8="}]}, "is not an image"),
        (PREDICT, {"instances": [{"b64": ""}, PIXEL]}, "or none"),
        (PREDICT, {"instances": [0] * 1025}, "1 to 1,024 images"),
        (PREDICT, {"inputs": [], "signature_name": "train"}, "serving_default"),
    ],
)
def test_wrong_tensors_are_refused(server: Server, path: str, body: Any, sentence: str) -> None:
    assert sentence in _refused(server.client.post(path, json=body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"inputs": NaN}',
        b'{"instances": [[[[NaN]]]]}',
        b"null",
        b'{"instances": [' + b"9" * 5_000 + b"]}",
    ],
)
@pytest.mark.parametrize("path", [INFER, PREDICT])
def test_invalid_json_is_refused(server: Server, path: str, body: bytes) -> None:
    _refused(server.client.post(path, content=body))


@pytest.mark.parametrize("length", ["-1", "99999", "x", "1e3", "9" * 50])
def test_a_wrong_header_length_is_refused(server: Server, length: str) -> None:
    headers = {"Inference-Header-Content-Length": length}
    answer = server.client.post(INFER, content=json.dumps(_tensor()), headers=headers)
    assert "Inference-Header-Content-Length" in _refused(answer)


def test_a_body_above_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    large = b"0" * (16 * 2**20 + 1)
    for path in (INFER, PREDICT, "/classify"):
        assert "larger than 16,777,216 bytes" in _refused(
            server.client.post(path, content=large), 413
        )

    def parts() -> Any:  # without a Content-Length
        for _ in range(17):
            yield b"0" * 2**20

    with contextlib.suppress(httpx.WriteError):  # if it hangs up before all is sent
        _refused(server.client.post(INFER, content=parts()), 413)
    assert server.client.get("/v2/health/live").json() == {"live": True}


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("encoding", "body", "status", "sentence"),
    [
        ("gzip", _gzip(b"0" * (16 * 2**20 + 1)), 413, "larger than 16,777,216 bytes"),
        ("gzip", b"no gzip", 400, "is damaged"),
        ("gzip", _gzip(b"{}")[:-4], 400, "is truncated"),
        ("gzip", _gzip(b"{}") + b"more", 400, "data follows"),
        ("gzip", _gzip(b"{}"), 400, "one input"),
        ("deflate", zlib.compress(b"{}"), 400, "one input"),
        ("br", b"{}", 415, "must be gzip or deflate"),
        ("gzip, gzip", b"{}", 415, "must be gzip or deflate"),
    ],
    ids=["bomb", "damaged", "cut", "more", "gzip", "deflate", "br", "twice"],
)
def test_compressed_requests_have_the_same_limits(
    server: Server, encoding: str, body: bytes, status: int, sentence: str
) -> None:
    headers = {"Content-Encoding": encoding}
    answer = server.client.post(INFER, content=body, headers=headers)
    assert sentence in _refused(answer, status)


def _png_of(width: int, height: int) -> bytes:
    """The header of an enormous image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + end

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _gif() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "GIF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"text", "is not an image in any known format"),
        (_gif(), "is in GIF format, which is not supported; convert it to PNG or JPEG"),
        (_png_of(5_000, 5_000), "has 5000×5000 pixels, above the limit of 16 million"),
        (_png_of(30_000, 30_000), "x.png has far too many pixels"),
        (_png_of(2**31 - 1, 2**31 - 1), "x.png"),
        (_png_of(64, 64)[:60], "cannot be read"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 50, "x.png"),
    ],
)
@pytest.mark.parametrize("path", ["/classify", "/explain"])
def test_files_that_are_not_images_are_refused(
    server: Server, path: str, content: bytes, sentence: str
) -> None:
    assert sentence in _refused(server.client.post(path, files={"files": ("x.png", content)}))


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("text/plain", b"cat", 415),
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"--x\r\n", 400),
        ("multipart/form-data; boundary=x", b"no form", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n", 400),
        ("multipart/form-data; boundary=" + "y" * 500, b"--x--", 400),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 400),
        ("multipart/form-data; boundary=x; charset=\xff", b"--x--\r\n", 400),
    ],
)
def test_invalid_forms_are_refused(server: Server, kind: str, body: bytes, status: int) -> None:
    headers = {b"content-type": kind.encode("latin-1")}
    _refused(server.client.post("/classify", content=body, headers=headers), status)


def test_too_many_files_are_refused(server: Server) -> None:
    files = [("files", ("a.png", b"x"))] * 1025
    assert "more than 1,024 parts" in _refused(server.client.post("/classify", files=files))


@pytest.mark.parametrize(
    "path", ["/v2/models/none", "/v2/models/first/versions/9", "/v1/models/first/versions/x", "/no"]
)
def test_missing_endpoints_and_models_are_404(server: Server, path: str) -> None:
    _refused(server.client.get(path), 404)


def test_wrong_methods_and_queries_are_refused(server: Server) -> None:
    _refused(server.client.delete("/models"), 405)
    _refused(server.client.post("/classify?top=0"), 400)
    _refused(server.client.post("/classify?top=many"), 400)


@pytest.mark.parametrize("path", ["/page/../../settings.py", "/page/%2e%2e/__init__.py", "/page/"])
def test_only_the_files_of_the_page_are_served(server: Server, path: str) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 404")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(noise=st.binary(min_size=1, max_size=400))
def test_invalid_http_ends_only_its_own_connection(server: Server, noise: bytes) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(noise + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(1000)
    assert answer[9:10] in (b"", b"4")
    assert server.client.get("/v2/health/live").json() == {"live": True}


@pytest.mark.parametrize(
    ("head", "status", "sentence"),
    [
        (b"GET / HTTP/1.1\r\nX-More: " + b"y" * 33_000, 431, "more than 32,768 bytes of headers"),
        (b"no request at all\r\n\r\n", 400, "not valid HTTP/1.1"),
    ],
)
def test_invalid_or_too_large_headers_are_refused(
    server: Server, head: bytes, status: int, sentence: str
) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 30) as connection:
        connection.sendall(head)
        answer = _all_that_comes(connection)
    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert sentence in json.loads(answer.partition("\r\n\r\n")[2])["error"]
    assert server.client.get("/v2/health/live").json() == {"live": True}


def _all_that_comes(connection: socket.socket) -> str:
    parts = []
    while part := connection.recv(1_000):
        parts.append(part)
    return b"".join(parts).decode()


def test_endless_headers_are_cut_off(server: Server) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            _send_without_end(connection)
    assert server.client.get("/v2/health/live").json() == {"live": True}


def _send_without_end(connection: socket.socket) -> None:
    for _ in range(2_000):
        connection.sendall(b"X-More: " + b"y" * 1_000 + b"\r\n")
        time.sleep(0.001)


@pytest.mark.slow
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_requests_that_follow_the_openapi_description_get_no_5xx(server: Server, data: Any) -> None:
    description = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    for result in description.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if "/repository/models" in operation.path:
            continue  # the other tests need the loaded models
        case = data.draw(operation.as_strategy())
        # A random name never matches a model, and its 404 would hide the later checks.
        here = {"name": "first", "version": "1"}
        case.path_parameters.update({key: here[key] for key in case.path_parameters})
        if case.query:
            case.query.update(dict.fromkeys({"model"} & case.query.keys(), here["name"]))
        answer = case.call(base_url=server.address)
        assert answer.status_code < 500, answer.text


def test_hostile_requests_leak_no_memory(server: Server, pictures: list[Path]) -> None:
    def resident() -> int:
        pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
        return int(pages) * 4096

    def trouble() -> None:
        server.client.post("/classify", content=b"0" * 17 * 2**20)
        server.client.post("/classify", files={"f": _png_of(30_000, 30_000)})
        server.client.post(INFER, content=b"[" * 1_000_000)
        server.client.post("/classify", files={"f": pictures[0].read_bytes()})

    for _ in range(5):
        trouble()
    before = resident()
    for _ in range(20):
        trouble()
    assert resident() - before < 64 * 2**20
