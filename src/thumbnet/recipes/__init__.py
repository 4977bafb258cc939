"""The recipes that come with Thumbnet, and their results on CIFAR-10."""

import csv
from dataclasses import dataclass
from pathlib import Path

_KNOWN = Path(__file__).parent / "known.csv"


@dataclass(frozen=True)
class KnownRecipe:
    """The results of a shipped recipe on CIFAR-10; see benchmarks/results/recipes.md.

    `ann` and `cnn` were trained on 90% of the training images, the others on all of them.

    Attributes:
        name: name of the recipe.
        accuracy: mean test accuracy over seeds.
        seeds: number of seeds.
        flop_per_image: FLOP of the forward pass, as counted by `count_flop`.
    """

    name: str
    accuracy: float
    seeds: int
    flop_per_image: int


def known_recipes() -> list[KnownRecipe]:
    """The shipped recipes whose results are published with the package."""
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
