"""The recipes that come with Thumbnet, and what they reach on CIFAR-10."""

import csv
from dataclasses import dataclass
from pathlib import Path

_KNOWN = Path(__file__).parent / "known.csv"


@dataclass(frozen=True)
class KnownRecipe:
    """What a shipped recipe reaches on CIFAR-10; see benchmarks/results/recipes.md.

    `ann` and `cnn` were trained on nine tenths of the training images, the others on all.

    Attributes:
        name: of the recipe.
        accuracy: mean over `seeds` of the share of test images that are right.
        seeds: how many runs that is the mean of.
        flop_per_image: of the forward pass, as `count_flop` counts.
    """

    name: str
    accuracy: float
    seeds: int
    flop_per_image: int


def known_recipes() -> list[KnownRecipe]:
    """The shipped recipes whose figures are published with the package."""
    with open(_KNOWN, encoding="utf-8", newline="") as file:
        return [
            KnownRecipe(
                name=row["recipe"],
                accuracy=float(row["accuracy"]),
                seeds=int(row["seeds"]),
                flop_per_image=int(row["flop_per_image"]),
            )
            for row in csv.DictReader(file)
        ]
