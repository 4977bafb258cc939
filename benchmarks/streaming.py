"""Images per second and memory for image folders of growing size.

    .venv/bin/python benchmarks/streaming.py --images 10000 100000 500000
    .venv/bin/python benchmarks/streaming.py --images 10000 --suffix .jpg --side 256

The files are CIFAR-10 images; beyond 50,000 they are hard links to the same files. For each number
of images, one process reads the folder for the first time and decodes it; a second one finds the
decoded pixels, and reads one epoch of batches of the recipe `cnn`. Memory is `RssAnon`, the
anonymous memory of the process: pages of the memory-mapped file (`RssFile`) can be dropped at any
time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from PIL import Image

from thumbnet.data.load import load
from thumbnet.data.split import stratified_split
from thumbnet.machine import describe_host
from thumbnet.recipe import Recipe
from thumbnet.training.batches import Batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[10_000])
    parser.add_argument("--suffix", choices=[".png", ".jpg"], default=".png")
    parser.add_argument("--side", type=int, default=32, help="image size in pixels")
    parser.add_argument("--measure", choices=["decode", "stream"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(_measure(arguments.measure, arguments.folder)))
        return
    here = describe_host()
    print(f"{here.processor}, {here.threads} threads; {here.versions}")
    print(f"commit {here.git_revision}; files {arguments.suffix}, {arguments.side} pixels\n")
    columns = ["images", "pixels", "decoded, images/s", "peak RssAnon"]
    columns += ["streamed, images/s", "peak RssAnon", "of which before the first batch"]
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for count in arguments.images:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "pictures"
            _write_pictures(folder, count, arguments.suffix, arguments.side)
            os.environ["THUMBNET_CACHE"] = str(Path(name) / "cache")
            decoded, streamed = (_in_process(step, folder) for step in ("decode", "stream"))
        cells = [
            f"{count:,}",
            f"{count * 32 * 32 * 3 / 1e6:,.0f} MB",
            f"{decoded['images_per_second']:,.0f}",
            f"{decoded['peak_mb']:.0f} MB",
            f"{streamed['images_per_second']:,.0f}",
            f"{streamed['peak_mb']:.0f} MB",
            f"{streamed['before_mb']:.0f} MB",
        ]
        print("| " + " | ".join(cells) + " |", flush=True)


def _write_pictures(folder: Path, count: int, suffix: str, side: int) -> None:
    part = load().train
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    written: list[Path] = []
    for index in range(min(count, len(part))):
        path = folder / str(part.labels[index]) / f"{index:06}{suffix}"
        Image.fromarray(part.images[index]).resize((side, side)).save(path)
        written.append(path)
    for index, original in zip(range(len(part), count), cycle(written), strict=False):
        os.link(original, original.with_name(f"{index:06}{suffix}"))


def _in_process(step: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", step, "--folder", str(folder)]
    values: dict[str, float] = json.loads(subprocess.check_output(command, text=True))
    return values


def _measure(step: str, folder: Path) -> dict[str, float]:
    with _peak_memory() as peak:
        started = time.perf_counter()
        dataset = load(folder)
        if step == "decode":
            images = len(dataset.train) + len(dataset.test)
            rate = images / (time.perf_counter() - started)
            return {"images_per_second": rate, "peak_mb": max(peak)}
        recipe = Recipe.read("cnn")
        indices, _ = stratified_split(dataset.train.labels, recipe.validation, recipe.seed)
        batches = Batches(dataset.train.take(indices), recipe.batch_size, recipe.augmentation, 0)
        assert dataset.digests
        before = max(peak)
        started = time.perf_counter()
        images = sum(len(labels) for _, labels in batches.epoch(0))
        rate = images / (time.perf_counter() - started)
        return {"images_per_second": rate, "peak_mb": max(peak), "before_mb": before}


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """`RssAnon` in MB, sampled a hundred times per second."""
    seen = [_anonymous_memory()]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen.append(_anonymous_memory())

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield seen
    finally:
        over.set()


def _anonymous_memory() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1000
    raise RuntimeError("this system does not report RssAnon")


if __name__ == "__main__":
    main()
