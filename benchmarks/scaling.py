"""Scaling of training from one process on one core to two, for one or more recipes.

    .venv/bin/python benchmarks/scaling.py cnn strong
    .venv/bin/python benchmarks/scaling.py cnn --steps 2 --rounds 1 --out runs/bench/scaling.md

Repeats the measurement of `thumbnet bench scaling`, alternating between recipes, and shows the
median of each figure.
"""

import argparse
import statistics
import sys
from pathlib import Path

import harness

from thumbnet.atomic import write_text
from thumbnet.bench.scaling import ScalingRow, measure_scaling
from thumbnet.recipe import Recipe

COLUMNS = ["recipe", "processes", "cores each", "images/s", "efficiency", "all-reduce per step"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", help="names of shipped recipes")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "scaling.md")
    arguments = parser.parse_args()
    found: dict[str, list[list[ScalingRow]]] = {name: [] for name in arguments.recipes}
    for _ in range(arguments.rounds):
        for name, rounds in found.items():
            rounds.append(measure_scaling(Recipe.read(name), arguments.steps, _report))
    rows = [
        [name, *_row(same)] for name, rounds in found.items() for same in zip(*rounds, strict=True)
    ]
    text = harness.document(
        "Scaling from one process to two",
        f"Keras on JAX, with the same global batch throughout and each process pinned to its "
        f"cores. The median of {arguments.steps} steps, and of {arguments.rounds} rounds (lowest "
        "to highest). Efficiency is the rate divided by the number of cores in use times the rate "
        "of one core; it is 100% by definition in the first row.",
        harness.markdown_table(COLUMNS, rows),
    )
    write_text(arguments.out, text)
    print(text)


def _row(same: tuple[ScalingRow, ...]) -> list[str]:
    rates = [row["images_per_second"] for row in same]
    efficiencies = [row["efficiency"] for row in same]
    first = same[0]
    reduced = f"{first['reduced_bytes']:,} bytes in {first['reductions']} operations"
    return [
        str(first["processes"]),
        str(first["cores"]),
        f"{statistics.median(rates):,.0f}",
        f"{statistics.median(efficiencies):.0%} "
        f"({min(efficiencies):.0%} to {max(efficiencies):.0%})",
        reduced if first["reductions"] else "–",
    ]


def _report(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
