"""The cost of `--deterministic`: training speed with it, relative to the speed without it.

    .venv/bin/python benchmarks/deterministic.py --pairs 3

Trains each recipe on the bundled sample in separate processes, alternately without and with the
option. The first epoch, which compiles the graph, does not count.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EPOCHS = {"ann": 8, "cnn": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    print(
        "| recipe | images/s without | with | ratio, median of pairs |\n| --- | --- | --- | --- |"
    )
    for recipe, epochs in EPOCHS.items():
        pairs = [
            [_images_per_second(recipe, epochs, options) for options in ([], ["--deterministic"])]
            for _ in range(arguments.pairs)
        ]
        without, with_it = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(second / first for first, second in pairs)
        print(f"| {recipe} | {without:,.0f} | {with_it:,.0f} | {ratio:.2f} |", flush=True)


def _images_per_second(recipe: str, epochs: int, options: list[str]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "run"
        command = [sys.executable, "-m", "thumbnet", "train", recipe, "--source", "sample"]
        subprocess.run(
            [*command, "--epochs", str(epochs), "--out", str(out), *options],
            check=True,
            capture_output=True,
        )
        with open(out / "history.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    return statistics.median(float(row["images_per_second"]) for row in rows[1:])


if __name__ == "__main__":
    main()
