"""Distributed training with real processes, over loopback and between network namespaces."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.parallel.launch import Launch
from thumbnet.parallel.processes import Processes, join, launched
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.training import train
from thumbnet.training.progress import SilentDisplay

pytestmark = pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")

SCRIPT = Path(__file__).with_name("distributed_training.py")
# Batch normalisation, dropout and a validation split of odd size: everything that must be computed
# over the whole batch.
RECIPE = """
name = "shared"
epochs = 2
batch_size = 120
validation = 0.0506
subset = 0.4
model = { architecture = "cnn", widths = [4, 8], dropout = 0.1 }
optimizer = { name = "sgd", learning_rate = 0.001, momentum = 0.9 }
augmentation = { flip = "random", random_crop_padding = 2, cutout = 4 }
stopping = { patience = 2 }
"""
LOST = "another process was lost (its output may say why); continue with `thumbnet train --resume"
# A host is a prefix to a command, which runs it there.
HERE: tuple[str, ...] = ()


@dataclass(frozen=True)
class Host:
    """A network namespace; `command` is a prefix that runs a command in it."""

    name: str
    command: tuple[str, ...]


class Together:
    """The command in several processes; `all_started` lists what to kill after a failed test."""

    all_started: ClassVar[list["subprocess.Popen[str]"]] = []

    def __init__(
        self,
        arguments: Sequence[object],
        hosts: Sequence[Sequence[str]],
        address: str,
        rank: int = 0,
        count: int | None = None,
        join_seconds: int = 300,
    ) -> None:
        self.address, self.join_seconds = address, join_seconds
        self.processes = [
            self._start(arguments, rank, count or len(hosts), host)
            for rank, host in enumerate(hosts, rank)
        ]
        self.all_started.extend(self.processes)

    def _start(
        self, arguments: Sequence[object], rank: int, count: int, host: Sequence[str]
    ) -> "subprocess.Popen[str]":
        variables = {
            "KERAS_BACKEND": "jax",
            "JAX_COORDINATOR_ADDRESS": self.address,
            "JAX_NUM_PROCESSES": str(count),
            "JAX_PROCESS_ID": str(rank),
        }
        command = [
            *host,
            sys.executable,
            str(SCRIPT),
            "10",
            str(self.join_seconds),
            "train",
            "--distributed",
        ]
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | variables,
        )

    def ends(self) -> list[tuple[int, str, str]]:
        """Wait for all processes; exit code, standard output and standard error of each."""
        found = []
        for process in self.processes:
            out, err = process.communicate(timeout=300)
            found.append((process.returncode, out, err))
        return found


def together(*arguments: object, count: int = 2) -> Together:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return Together(arguments, [HERE] * count, f"127.0.0.1:{port}")


def wait_for_step(out: Path, step: int) -> None:
    """Return once the run has reached that step."""
    for _ in range(30_000):
        if any(
            int(path.stem.partition("-")[2]) >= step for path in out.glob("checkpoints/step-*.npz")
        ):
            return
        time.sleep(0.01)
    pytest.fail(f"{out} did not reach step {step}")


def last_step(out: Path) -> int:
    return max(int(path.stem.partition("-")[2]) for path in out.glob("checkpoints/step-*.npz"))


def weights(out: Path) -> dict[str, np.ndarray]:
    with np.load(max(out.glob("checkpoints/step-*.npz"))) as checkpoint:
        return {name: checkpoint[name] for name in checkpoint if name not in ("state", "digest")}


def assert_same_training(out: Path, reference: Path) -> None:
    timed = ("seconds", "images_per_second")
    rows, expected = ([row.values() for row in Run(path).history()] for path in (out, reference))
    for row, expected_row in zip(rows, expected, strict=True):
        assert row.keys() == expected_row.keys()
        for name in row.keys() - {*timed}:
            assert row[name] == pytest.approx(expected_row[name], rel=1e-4), name
    found, wanted = weights(out), weights(reference)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left_running() -> Iterator[None]:
    yield
    for process in Together.all_started:
        process.kill()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "shared.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def reference(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a single process."""
    out = tmp_path_factory.mktemp("runs") / "alone"
    ends = together(recipe, "--source", "sample", "--out", out, count=1).ends()
    assert [code for code, *_ in ends] == [0], ends
    return out


@pytest.mark.slow
def test_two_processes_train_the_same_weights_as_one(
    recipe: Path, reference: Path, tmp_path: Path
) -> None:
    first, second = together(recipe, "--source", "sample", "--out", tmp_path / "run").ends()
    assert first[0] == second[0] == 0, (first, second)
    assert "test accuracy" in first[1]
    assert second[1:] == ("", "")  # only rank 0 prints
    run = Run(tmp_path / "run")
    assert run.environment().processes == 2
    assert run.metrics().validation_images % 2 == 1
    assert_same_training(run.path, reference)


@pytest.mark.slow
def test_all_processes_share_the_losses_that_rank_hard_examples(
    recipe: Path, tmp_path: Path
) -> None:
    # The selection may differ if two losses are almost equal, so the weights of later epochs are
    # not compared.
    losses = []
    for count in (1, 2):
        out = tmp_path / f"run{count}"
        settings = ["--set", "hard_example_fraction=0.5", "--set", "epochs=1"]
        ends = together(recipe, *settings, "--source", "sample", "--out", out, count=count).ends()
        assert [code for code, *_ in ends] == [0] * count, ends
        losses.append(weights(out)["losses_ranked"])
    assert np.isfinite(losses[0]).mean() > 0.9
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)


@pytest.mark.slow
def test_losing_a_process_ends_all_and_training_can_be_resumed(
    recipe: Path, reference: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    stopped = together(recipe, "--source", "sample", "--out", out)
    wait_for_step(out, 5)
    stopped.processes[1].send_signal(signal.SIGTERM)
    for rank, (code, _, err) in enumerate(stopped.ends()):
        assert code == 1
        assert f"error: rank {rank} of 2: interrupted after {last_step(out)} steps" in err
        assert err.count("error") == 1
    for lost, survivor in ((1, 0), (0, 1)):
        before = last_step(out)
        going_on = together("--resume", out)
        wait_for_step(out, before + 5)
        going_on.processes[lost].kill()
        code, _, err = going_on.ends()[survivor]
        assert code == 1
        assert f"thumbnet: error: rank {survivor} of 2: {LOST} {out}`" in err
        assert err.count("error") == 1
    (ended,) = together("--resume", out, count=1).ends()
    assert ended[0] == 0, ended
    assert_same_training(out, reference)


@pytest.mark.slow
def test_processes_with_different_options_are_refused(recipe: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    options = [recipe, "--source", "sample", "--out", tmp_path / "run", "--seed"]
    pair = [Together([*options, rank], [HERE], address, rank=rank, count=2) for rank in (0, 1)]
    for rank, started in enumerate(pair):
        ((code, _, err),) = started.ends()
        assert code == 2
        assert f"error: rank {rank} of 2: rank 1 and rank 0 differ in recipe or images" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "devices", "message"),
    [
        ({}, 7, "batches of 60 images cannot be divided evenly among 7 devices; set batch_size to"),
        (
            {"hard_example_fraction": 0.1},
            4,
            "batches of 30 images cannot be divided evenly among 4 devices",
        ),
        (
            {"ghost_batches": 2},
            2,
            "ghost_batches = 2 splits batches that are already split among",
        ),
    ],
)
def test_batches_that_do_not_divide_among_the_devices_are_refused(
    settings: dict[str, float],
    devices: int,
    message: str,
    tiny_recipe: Recipe,
    small: Dataset,
    tmp_path: Path,
) -> None:
    recipe = tiny_recipe.override(settings)
    with pytest.raises(InputError, match=message):
        train(
            recipe,
            small,
            tmp_path / "run",
            display=SilentDisplay(),
            processes=Processes(devices=devices),
        )
    assert not (tmp_path / "run").exists()


def test_a_backend_other_than_jax_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    with (
        pytest.raises(InputError, match=r"needs the JAX .* uses tensorflow: .* KERAS_BACKEND=jax"),
        launched(Launch("127.0.0.1:4711", 2, 0), "run"),
    ):
        pass


def test_a_port_that_is_in_use_is_named() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match=rf"cannot listen on port {port}.*choose another port"):
            join(Launch(f"127.0.0.1:{port}", 2, 0))


@pytest.mark.slow
def test_waiting_for_a_process_that_never_joins_times_out(recipe: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    waiting = Together(
        [recipe, "--out", tmp_path / "run"], [HERE], address, count=2, join_seconds=5
    )
    ((code, _, err),) = waiting.ends()
    assert code == 1
    assert f"not all processes joined at {address} within 5 s" in err


@pytest.mark.slow
def test_separate_hosts_train_together_and_notice_a_broken_connection(
    recipe: Path, reference: Path, tmp_path: Path, hosts: list[Host]
) -> None:
    out = tmp_path / "run"
    address = f"{hosts[0].name}:4711"
    commands = [host.command for host in hosts]
    cut = Together([recipe, "--source", "sample", "--out", out], commands, address)
    wait_for_step(out, 5)
    ip("-n", hosts[1].name, "link", "set", "eth0", "down")
    for rank, (code, _, err) in enumerate(cut.ends()):
        assert code == 1
        assert f"thumbnet: error: rank {rank} of 2: {LOST}" in err
    ip("-n", hosts[1].name, "link", "set", "eth0", "up")
    ends = Together(["--resume", out], commands, address).ends()
    assert [code for code, *_ in ends] == [0, 0], ends
    assert_same_training(out, reference)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    """Two network namespaces as hosts, each with a name and an address, connected to each other."""
    names = [f"thumbnet{os.getpid()}{end}" for end in "ab"]
    addresses = ["10.213.0.1", "10.213.0.2"]
    try:
        for name in names:
            ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {getattr(error, 'stderr', error)}")
    table = tmp_path / "hosts"
    table.write_text(
        "".join(f"{address} {name}\n" for address, name in zip(addresses, names, strict=True)),
        encoding="utf-8",
    )
    try:
        ip("-n", names[0], "link", "add", "eth0", "type", "veth", "peer", "eth0", "netns", names[1])
        for name, address in zip(names, addresses, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", name, "link", "set", device, "up")
        yield [Host(name, _on_host(name, table)) for name in names]
    finally:
        for name in names:
            ip("netns", "delete", name)


def _on_host(name: str, table: Path) -> tuple[str, ...]:
    script = f'hostname {name}; mount --bind {table} /etc/hosts; exec "$@"'
    return ("ip", "netns", "exec", name, "unshare", "--uts", "--mount", "sh", "-ec", script, name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
