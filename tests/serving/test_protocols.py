"""Requests of the standard clients of three protocols."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from PIL import Image
from server_process import Serve, Server
from tritonclient.utils import InferenceServerException

from thumbnet.data.stored import UInt8Array
from thumbnet.engines import file_digest, open_engine
from thumbnet.engines.prediction import predict
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.model import bundled_run


@pytest.fixture(scope="session")
def expected(images: UInt8Array) -> Float32Array:
    return open_engine(bundled_run()).predict(images)


@pytest.fixture(scope="session")
def digest() -> str:
    return file_digest(bundled_run().exports_path / "model.tflite")


@pytest.fixture
def stock_client(server: Server) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(server.address.removeprefix("http://"))


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("version", ["", "1"])
def test_tritons_client_gets_the_engines_probabilities(
    stock_client: triton.InferenceServerClient,
    images: UInt8Array,
    expected: Float32Array,
    binary: bool,
    version: str,
) -> None:
    given = triton.InferInput("images", list(images.shape), "UINT8")
    given.set_data_from_numpy(images, binary_data=binary)
    wanted = triton.InferRequestedOutput("probabilities", binary_data=binary)
    result = stock_client.infer("first", [given], version, [wanted], request_id="mine")
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected, atol=1e-6)
    assert result.get_response()["id"] == "mine"
    assert result.get_response()["model_version"] == (version or "2")


def test_tritons_client_reads_health_and_metadata(
    stock_client: triton.InferenceServerClient, digest: str
) -> None:
    assert stock_client.is_server_live()
    assert stock_client.is_server_ready()
    assert stock_client.is_model_ready("first", "2")
    assert not stock_client.is_model_ready("first", "3")
    assert "binary_tensor_data" in stock_client.get_server_metadata()["extensions"]
    metadata = stock_client.get_model_metadata("first")
    assert metadata["versions"] == ["2", "1"]
    assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 32, 32, 3]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}]
    assert metadata["parameters"]["model_sha256"] == digest


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritons_client_may_compress_its_requests(
    stock_client: triton.InferenceServerClient,
    images: UInt8Array,
    expected: Float32Array,
    algorithm: str,
) -> None:
    given = triton.InferInput("images", list(images.shape), "UINT8")
    given.set_data_from_numpy(images)
    result = stock_client.infer("first", [given], request_compression_algorithm=algorithm)
    np.testing.assert_allclose(result.as_numpy("probabilities"), expected, atol=1e-6)


def test_tritons_client_reads_the_configuration_and_statistics_of_a_model(
    stock_client: triton.InferenceServerClient, images: UInt8Array
) -> None:
    config = stock_client.get_model_config("first")
    assert config["name"] == "first"
    assert config["input"] == [{"name": "images", "data_type": "TYPE_UINT8", "dims": [32, 32, 3]}]
    assert config["output"] == [{"name": "probabilities", "data_type": "TYPE_FP32", "dims": [10]}]
    assert config == stock_client.get_model_config("first", "2")

    def counts() -> dict[str, Any]:
        (found,) = stock_client.get_inference_statistics("first", "1")["model_stats"]
        counted: dict[str, Any] = found
        return counted

    before = counts()
    given = triton.InferInput("images", [3, 32, 32, 3], "UINT8")
    given.set_data_from_numpy(images[:3])
    stock_client.infer("first", [given], "1")
    after = counts()
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 1
    success = after["inference_stats"]["success"]
    assert success["count"] - before["inference_stats"]["success"]["count"] == 1
    assert success["ns"] > after["inference_stats"]["compute_infer"]["ns"] > 0
    assert after["last_inference"] > before["last_inference"]
    every = stock_client.get_inference_statistics()["model_stats"]
    names = {(line["name"], line["version"]) for line in every}
    assert names >= {("first", "1"), ("first", "2"), ("second", "1")}


@pytest.mark.parametrize("more", [{"config": "{}"}, {"files": {"file:1/model.onnx": b"x"}}])
def test_a_different_configuration_is_refused_not_ignored(
    stock_client: triton.InferenceServerClient, more: dict[str, Any]
) -> None:
    more = {"config": "{}"} | more
    with pytest.raises(InferenceServerException, match="is not supported"):
        stock_client.load_model("plain", **more)


def test_the_index_can_be_limited_to_loaded_models(server: Server) -> None:
    def states(body: dict[str, Any]) -> set[str]:
        lines = server.client.post("/v2/repository/index", json=body).json()
        return {line["state"] for line in lines}

    assert states({"ready": True}) == {"READY"}
    assert states({}) == {"READY", "UNAVAILABLE"}


def test_the_service_is_ready_when_all_models_named_at_startup_are_loaded(server: Server) -> None:
    def ready() -> tuple[int, bool]:
        answer = server.client.get("/v2/health/ready")
        return answer.status_code, answer.json()["ready"]

    assert ready() == (200, True)
    assert server.client.post("/v2/repository/models/second/unload").status_code == 200
    assert ready() == (503, False)
    assert server.client.post("/v2/repository/models/second/load").status_code == 200
    assert ready() == (200, True)
    assert server.client.get("/v2/").json() == server.client.get("/v2").json()


def test_models_are_loaded_and_unloaded_at_run_time(
    stock_client: triton.InferenceServerClient, server: Server
) -> None:
    def states() -> dict[tuple[str, str], str]:
        index = stock_client.get_model_repository_index()
        return {(line["name"], line["version"]): line["state"] for line in index}

    assert states()[("numbered", "7")] == "UNAVAILABLE"
    stock_client.load_model("numbered")
    assert stock_client.get_model_metadata("numbered")["versions"] == ["7", "1"]
    assert states()[("numbered", "7")] == "READY"
    stock_client.unload_model("numbered")
    assert states()[("numbered", "7")] == "UNAVAILABLE"
    assert server.client.get("/v2/models/numbered").status_code == 404
    assert ("nothing", "1") not in states()


@pytest.mark.parametrize("name", ["nothing", "never", "..", "%2e%2e", "plain%2f..%2fplain"])
def test_only_runs_below_the_repository_are_loaded(server: Server, name: str) -> None:
    assert server.client.post(f"/v2/repository/models/{name}/load").status_code == 404


def test_the_error_of_a_model_that_cannot_be_opened_names_no_directory(
    server: Server, repository: Path
) -> None:
    answer = server.client.post("/v2/repository/models/broken/load")
    assert answer.status_code == 400
    assert "was modified after the export" in answer.json()["error"]
    assert str(repository) not in answer.text


def test_tensorflow_servings_predict(
    server: Server, images: UInt8Array, expected: Float32Array, pictures: list[Path]
) -> None:
    def ask(**body: Any) -> dict[str, Any]:
        answer = server.client.post("/v1/models/first:predict", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    values = images[:4].tolist()
    encoded = [{"b64": base64.b64encode(path.read_bytes()).decode()} for path in pictures]
    rows = [
        ask(instances=values)["predictions"],
        ask(instances=[{"images": value} for value in values])["predictions"],
        ask(instances=encoded, signature_name="serving_default")["predictions"],
        ask(inputs=values)["outputs"],
        ask(inputs={"images": values})["outputs"],
        server.client.post(
            "/v1/models/first/versions/1:predict", json={"instances": values}
        ).json()["predictions"],
    ]
    for found in rows:
        np.testing.assert_allclose(found, expected[:4], atol=1e-6)


def test_tensorflow_servings_status_and_metadata(server: Server, digest: str) -> None:
    status = server.client.get("/v1/models/first").json()["model_version_status"]
    assert [(line["version"], line["state"]) for line in status] == [
        ("2", "AVAILABLE"),
        ("1", "AVAILABLE"),
    ]
    one = server.client.get("/v1/models/first/versions/1").json()["model_version_status"]
    assert [line["version"] for line in one] == ["1"]
    metadata = server.client.get("/v1/models/first/versions/1/metadata").json()
    assert metadata["model_spec"] == {"name": "first", "signature_name": "", "version": "1"}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["images"]["dtype"] == "DT_UINT8"
    assert metadata["model_sha256"] == digest


def test_url_safe_base64_is_accepted(
    server: Server, expected: Float32Array, pictures: list[Path]
) -> None:
    content = pictures[0].read_bytes()
    text = base64.urlsafe_b64encode(content).decode()
    assert set(text) & set("-_")
    for encoded in (text, text.rstrip("=")):
        body = {"instances": [{"b64": encoded}]}
        answer = server.client.post("/v1/models/first:predict", json=body)
        np.testing.assert_allclose(answer.json()["predictions"], expected[:1], atol=1e-6)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/v1/models/first:classify", "only :predict"),
        ("/v1/models/first/versions/1:regress", "only :predict"),
        ("/v1/models/first/labels/stable:predict", "have no labels"),
    ],
)
def test_unsupported_apis_of_tensorflow_serving_get_a_message(
    server: Server, path: str, sentence: str
) -> None:
    answer = server.client.post(path, json={})
    assert answer.status_code == 501
    assert sentence in answer.json()["error"]


def test_the_first_requests_of_kserves_clients_are_answered(server: Server) -> None:
    assert server.client.get("/", headers={"Accept": "*/*"}).json() == {"status": "alive"}
    assert server.client.get("/v1/models").json() == {"models": ["first", "second"]}
    assert server.client.get("/v1/models/first").json()["ready"] is True
    assert server.client.get("/v1/models/none").status_code == 404
    page = server.client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.text.startswith("<!doctype html>")


def test_image_files_get_the_same_probabilities_as_predict(
    server: Server, pictures: list[Path]
) -> None:
    files = [("files", (path.name, path.read_bytes())) for path in pictures]
    answer = server.client.post("/classify?model=second&top=3", files=files).json()
    assert (answer["model"], answer["version"]) == ("second", "1")
    assert len(answer["results"]) == len(pictures)
    for path, found, alone in zip(
        pictures, answer["results"], predict(bundled_run(), pictures), strict=True
    ):
        assert found["file"] == path.name
        assert found["class_name"] == alone.class_name
        assert found["probability"] == pytest.approx(alone.confidence, abs=1e-6)
        assert found["rejected"] == (alone.confidence < 0.5)
        assert list(found["probabilities"]) == list(alone.probabilities)[:3]


def test_one_bad_file_does_not_spoil_the_others(server: Server, pictures: list[Path]) -> None:
    files = [("files", ("a.png", b"not an image")), ("files", ("b.png", pictures[0].read_bytes()))]
    first, second = server.client.post("/classify", files=files).json()["results"]
    assert first == {"file": "a.png", "error": first["error"]}
    assert first["error"].startswith("a.png is not an image")
    assert second["class_name"]


def test_a_photo_from_a_phone_is_classified(server: Server) -> None:
    """It has 24 million pixels: above the limit, but it need not be decoded in full."""
    photo = io.BytesIO()
    Image.new("RGB", (6000, 4000), "green").save(photo, "JPEG")
    answer = server.client.post("/classify", files={"files": ("a.jpg", photo.getvalue())})
    assert answer.json()["results"][0]["class_name"]


def test_the_explanation_is_the_drop_in_probability_by_occlusion(
    server: Server, pictures: list[Path]
) -> None:
    answer = server.client.post("/explain", files={"file": pictures[0].read_bytes()}).json()
    falls = np.array(answer["map"])
    assert falls.shape == (7, 7)
    assert (falls <= answer["probability"] + 1e-6).all()
    assert falls.std() > 0
    assert base64.b64decode(answer["seen"].partition(",")[2]).startswith(b"\x89PNG")


def test_models_are_listed_for_the_page(server: Server, digest: str) -> None:
    models = server.client.get("/models").json()["models"]
    assert [(m["name"], m["version"]) for m in models[:3]] == [
        ("first", "2"),
        ("first", "1"),
        ("second", "1"),
    ]
    assert models[0]["image_shape"] == [32, 32, 3]
    assert models[0]["model_sha256"] == digest


def test_requests_are_counted_and_logged(server: Server, pictures: list[Path]) -> None:
    given = {"X-Request-ID": "try-1"}
    files = {"files": pictures[0].read_bytes()}
    answer = server.client.post("/classify", files=files, headers=given)
    assert answer.headers["x-request-id"] == "try-1"
    name = answer.json()["results"][0]["class_name"]
    text = server.client.get("/metrics").text
    for counted in (
        'thumbnet_requests_total{method="POST",route="/classify",status="200"}',
        'thumbnet_request_seconds_bucket{le="0.1",route="/classify"}',
        'thumbnet_batch_images_count{model="first"}',
        'thumbnet_queue_images{model="first",version="2"} 0.0',
        f'thumbnet_predictions_total{{class_name="{name}",model="first"}}',
        'thumbnet_confidence_bucket{le="0.5",model="first"}',
    ):
        assert counted in text
    line = server.line("try-1")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/classify", 200)
    doubtful = server.client.get("/models", headers={"X-Request-ID": 'x" y'})
    assert doubtful.headers["x-request-id"] != 'x" y'


def test_the_openapi_description_has_every_endpoint_and_the_page_shows_it(server: Server) -> None:
    described = server.client.get("/openapi.json").json()["paths"]
    assert {"/classify", "/v1/models/{name}:predict", "/v2/models/{name}/infer"} <= set(described)
    page = server.client.get("/docs").text
    for path in described:
        assert path in page


@pytest.mark.slow
def test_without_a_run_the_bundled_one_is_served(serve: Serve, pictures: list[Path]) -> None:
    with serve() as server:
        files = {"files": pictures[0].read_bytes()}
        assert server.client.post("/classify", files=files).json()["model"] == "cifar10"
        assert server.stop() == 0


@pytest.mark.slow
def test_a_token_is_required_if_one_is_set(serve: Serve, pictures: list[Path]) -> None:
    with serve(THUMBNET_TOKEN="secret") as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            answer = server.client.get("/models", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": "Bearer secret"}
        assert server.client.get("/models", headers=right).status_code == 200
        for path in ("/", "/page/page.js", "/v2/health/live", "/docs"):
            assert server.client.get(path).status_code == 200


@pytest.mark.slow
def test_only_pages_of_allowed_origins_may_send_requests(serve: Serve) -> None:
    with serve("--cors", "https://good.example") as server:
        for path in ("/models", "/v2/repository/index"):
            method = "GET" if path == "/models" else "POST"
            bad = server.client.request(method, path, headers={"Origin": "https://bad.example"})
            assert bad.status_code == 403
            good = server.client.request(method, path, headers={"Origin": "https://good.example"})
            assert good.status_code == 200
            assert good.headers["access-control-allow-origin"] == "https://good.example"
        own = server.client.get("/models", headers={"Origin": server.address})
        assert own.status_code == 200
        asked = {"Origin": "https://good.example", "Access-Control-Request-Method": "POST"}
        assert server.client.options("/classify", headers=asked).status_code == 200


SAME, CROSS = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost"}, 200),
        ({"Host": "LOCALHOST:99"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "thumbnet.example"}, 421),
        ({"Host": "rebound.example", "Origin": "http://rebound.example", **SAME}, 421),
        ({"Host": "x:y:z"}, 421),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost:443", "Origin": "https://localhost"}, 200),
        ({"Host": "localhost", "Origin": "https://localhost:443"}, 200),
        ({"Host": "localhost", "Origin": "https://localhost:444"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        # A proxy whose name differs from its upstream's.
        ({"Host": "127.0.0.1", "Origin": "https://thumbnet.example", **SAME}, 200),
        ({"Host": "127.0.0.1", "Origin": "https://thumbnet.example", **CROSS}, 403),
        ({"Host": "127.0.0.1", **CROSS, "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Host": "127.0.0.1", **CROSS, "Sec-Fetch-Mode": "navigate"}, 200),
    ],
)
def test_only_the_right_host_and_its_own_pages_get_responses(
    server: Server, headers: dict[str, str], status: int
) -> None:
    assert server.client.get("/models", headers=headers).status_code == status


@pytest.mark.slow
def test_another_host_can_be_allowed(serve: Serve) -> None:
    with serve("--allowed-host", "thumbnet.example") as server:
        answer = server.client.get("/models", headers={"Host": "thumbnet.example:8443"})
        assert answer.status_code == 200
        assert server.client.get("/models").status_code == 421


@pytest.mark.parametrize("path", ["/", "/docs", "/page/page.js", "/v2/health/live", "/metrics"])
def test_head_gives_the_headers_of_get(server: Server, path: str) -> None:
    html = {"Accept": "text/html"}
    head, get = (server.client.request(way, path, headers=html) for way in ("HEAD", "GET"))
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if path != "/metrics":
        assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.slow
def test_a_proxy_may_publish_the_service_under_a_path(serve: Serve) -> None:
    with serve("--root-path", "/nets/thumbnet/") as server:
        for path in ("/models", "/nets/thumbnet/models"):
            assert server.client.get(path).status_code == 200
        assert server.client.get("/nets/thumbnetmodels").status_code == 404
        plain = server.client.get("/nets/thumbnet")
        assert (plain.status_code, plain.headers["location"]) == (308, "/nets/thumbnet/")
        described = server.client.get("/openapi.json").json()
        assert described["servers"] == [{"url": "/nets/thumbnet"}]
        html = {"Accept": "text/html"}
        for path in ("/nets/thumbnet/", "/nets/thumbnet/docs"):
            page = server.client.get(path, headers=html).text
            links = re.findall(r'(?:href|src)="([^"#]+)"', page)
            assert links
            for link in links:
                address = urljoin(f"{server.address}{path}", link)
                assert address.startswith(f"{server.address}/nets/thumbnet/")
                assert server.client.get(address).status_code == 200


@pytest.mark.slow
def test_limits_can_be_set_by_options_and_by_environment_variables(
    serve: Serve, images: UInt8Array
) -> None:
    with serve("--max-images", "2", THUMBNET_MAX_BODY="1", THUMBNET_MAX_HEADER="1") as server:
        body = {"instances": images[:3].tolist()}
        assert "1 to 2 images" in server.client.post("/v1/models/cifar10:predict", json=body).text
        large = server.client.post("/v1/models/cifar10:predict", content=b"0" * (2**20 + 1))
        assert "larger than 1,048,576 bytes" in large.text
        assert server.client.get("/models", headers={"X-More": "y" * 1_000}).status_code == 431


def test_the_json_of_a_v2_response_has_the_length_in_the_header(
    server: Server, images: UInt8Array
) -> None:
    tensor = {
        "name": "images",
        "shape": [1, 32, 32, 3],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": 3072},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    answer = httpx.post(
        f"{server.address}/v2/models/first/infer",
        content=head + images[0].tobytes(),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 40}
    assert len(answer.content) == length + 40


@pytest.mark.slow
def test_the_client_in_the_documentation_works(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    with serve() as server:
        address = server.address.removeprefix("http://")
        exec(compile(code.replace("127.0.0.1:8000", address), "docs/serving.md", "exec"), {})
    assert re.fullmatch(r"\[\d \d \d \d\]\n", capsys.readouterr().out)
