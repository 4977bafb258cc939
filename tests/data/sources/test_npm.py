import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from fake_npm import put_npm_on_path, remove_npm_from_path

from thumbnet.data.sources.npm import pack
from thumbnet.data.sources.patience import Patience
from thumbnet.errors import JobError

QUICK = Patience(silence=0.3, rate=0)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def pack_some(work: Path, patience: Patience = QUICK) -> Path:
    return pack("some@1.0.0", 1000, work, lambda done, total: None, patience)


def test_the_tarball_is_found_and_no_script_is_run(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = put_npm_on_path("printf abc > some-1.0.0.tgz", tmp_path / "bin", monkeypatch)
    tarball = pack_some(work)
    assert (tarball.parent, tarball.read_bytes()) == (work, b"abc")
    words = arguments.read_text(encoding="utf-8").split()
    assert words[:3] == ["pack", "some@1.0.0", "--ignore-scripts"]
    assert f"--cache={work}/npm-cache" in words


def test_progress_follows_the_files_of_npm(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_npm_on_path(
        "head -c 400 /dev/zero > part; sleep 0.6; head -c 5000 /dev/zero > some.tgz; sleep 0.4",
        tmp_path / "bin",
        monkeypatch,
    )
    counts = []
    pack("some@1.0.0", 1000, work, lambda *count: counts.append(count), Patience(rate=0))
    assert (400, 1000) in counts
    assert counts[-1] == (1000, 1000)


def test_missing_npm_is_reported(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_npm_from_path(tmp_path / "bin", monkeypatch)
    with pytest.raises(JobError, match="npm is not installed"):
        pack_some(work)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (
            'echo "npm error code E404" >&2; echo "npm error 404 Not Found" >&2; exit 1',
            r"npm pack some@1\.0\.0 failed: code E404; 404 Not Found$",
        ),
        ("exit 3", "failed: no error message"),
        ("true", "did not produce a tarball"),
    ],
)
def test_a_failure_is_reported_in_one_line(
    script: str, complaint: str, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_npm_on_path(script, tmp_path / "bin", monkeypatch)
    with pytest.raises(JobError, match=complaint):
        pack_some(work)


def test_a_hanging_npm_is_killed_with_its_children(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_npm_on_path(f'sleep 60 & echo $! > "{tmp_path}/child"; wait', tmp_path / "bin", monkeypatch)
    with pytest.raises(JobError, match=r"npm pack: no data received for 0\.3 s"):
        pack_some(work)
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    wait_until_gone(child)


def test_a_very_slow_npm_is_killed(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_npm_on_path(
        "while true; do echo x >> part; sleep 0.05; done", tmp_path / "bin", monkeypatch
    )
    with pytest.raises(JobError, match="npm pack: too slow: 0 kB/s"):
        pack_some(work, Patience(rate=100_000, window=0.4))


def test_ctrl_c_kills_npm_too(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It writes its process ID once the caller is waiting.
    script = f'sleep 0.5; echo $$ > "{tmp_path}/pid"; sleep 60'
    put_npm_on_path(script, tmp_path / "bin", monkeypatch)

    def interrupt() -> None:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_bytes():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        pack_some(work, Patience(silence=30))
    thread.join()
    wait_until_gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


def wait_until_gone(process: int) -> None:
    """Fail if a killed process is still running after some seconds."""
    for _ in range(300):
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False
        ).stdout.strip()
        if not state or state.startswith("Z"):  # a zombie only waits for its parent
            return
        time.sleep(0.01)
    pytest.fail(f"process {process} is still running")
