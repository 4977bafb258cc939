"""The container image and the manifests agree with each other and with the service's limits."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from thumbnet import __version__
from thumbnet.serving.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
MANIFESTS = {
    path.name: list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    for path in sorted((ROOT / "deploy").glob("*.yaml"))
}
((SERVICE,), (TRAINING_SERVICE, TRAINING)) = (
    MANIFESTS["kserve.yaml"],
    MANIFESTS["train-kubernetes.yaml"],
)
PODS: dict[str, dict[str, Any]] = {
    "kserve": SERVICE["spec"]["predictor"],
    "training": TRAINING["spec"]["template"]["spec"],
}
USER = int(re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)[0])


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod["containers"]
    assert isinstance(found, dict)
    return found


def under_a_mount(path: str, mounts: list[dict[str, Any]]) -> bool:
    return any(Path(path).is_relative_to(mount["mountPath"]) for mount in mounts)


@pytest.mark.parametrize("name", PODS)
def test_an_image_has_the_name_under_which_it_is_built(name: str) -> None:
    image = container(PODS[name])["image"]
    assert image.endswith(f":{__version__}")
    assert re.search(rf"docker build .*--tag {re.escape(image)} \.", DOCKERFILE)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_more_rights_than_it_needs(name: str) -> None:
    rights = container(PODS[name])["securityContext"]
    assert rights["runAsUser"] == USER
    assert rights["runAsNonRoot"]
    assert rights["readOnlyRootFilesystem"]
    assert not rights["allowPrivilegeEscalation"]
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("name", PODS)
def test_every_volume_is_mounted_and_temporary_files_have_one(name: str) -> None:
    pod = PODS[name]
    mounts = container(pod)["volumeMounts"]
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in pod["volumes"]}
    writable = [mount for mount in mounts if not mount.get("readOnly")]
    assert under_a_mount("/tmp/x", writable)
    memory = container(pod)["resources"]["limits"]["memory"]
    assert re.fullmatch(r"\d+Gi", memory)


def test_training_can_write_the_volume_of_its_runs() -> None:
    pod = PODS["training"]
    assert pod["securityContext"]["fsGroup"] == USER
    (runs,) = (one for one in pod["volumes"] if "persistentVolumeClaim" in one)
    (mount,) = (m for m in container(pod)["volumeMounts"] if m["name"] == runs["name"])
    assert not mount.get("readOnly")
    variables = {one["name"]: one.get("value") for one in container(pod)["env"]}
    assert under_a_mount(variables["THUMBNET_CACHE"], [mount])
    (script,) = container(pod)["args"]
    for run in re.findall(r"--(?:out|resume) (\S+)", script):
        assert under_a_mount(run, [mount])


def test_processes_of_a_training_find_each_other() -> None:
    job, pod = TRAINING["spec"], PODS["training"]
    variables = {one["name"]: one.get("value") for one in container(pod)["env"]}
    assert job["completions"] == job["parallelism"] == int(variables["JAX_NUM_PROCESSES"])
    (port,) = TRAINING_SERVICE["spec"]["ports"]
    name, service = TRAINING["metadata"]["name"], TRAINING_SERVICE["metadata"]["name"]
    assert variables["JAX_COORDINATOR_ADDRESS"] == f"{name}-0.{service}:{port['port']}"
    assert pod["subdomain"] == service
    assert TRAINING_SERVICE["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}


def test_a_service_that_ends_finishes_the_longest_request_it_has_accepted() -> None:
    limits, pod = Settings(), PODS["kserve"]
    longest = limits.header_seconds + limits.body_seconds + limits.request_seconds
    assert pod["timeout"] > longest
    assert limits.grace_seconds > longest
    assert pod["terminationGracePeriodSeconds"] > limits.grace_seconds


def test_probes_ask_the_port_that_the_image_serves() -> None:
    served = container(PODS["kserve"])
    (port,) = served["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in DOCKERFILE
    assert f'"--port", "{port["containerPort"]}"' in DOCKERFILE
    for probe in ("readinessProbe", "livenessProbe"):
        assert served[probe]["httpGet"]["port"] == port["containerPort"]
    assert served["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert served["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def test_manifests_use_options_that_exist() -> None:
    documented = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")
    texts = [*container(PODS["kserve"])["args"], *container(PODS["training"])["args"]]
    for option in re.findall(r"(?<!\S)--[a-z-]+", " ".join(texts)):
        assert f"`{option}" in documented
