"""The model as a diagram: its layers from `layers.csv`, in blocks of one output shape."""

import math
from dataclasses import dataclass
from pathlib import Path

from thumbnet.csv_files import read_table
from thumbnet.errors import InputError, quoted

HIGHEST, WIDEST = 48, 64
"""Pixels: height of a block with as many rows as the image, width of one with many channels."""


@dataclass(frozen=True)
class Block:
    """Layers that belong together: one that computes or reshapes, and those that follow it.

    Attributes:
        kinds: their Keras classes, with the kernel of a convolution.
        shape: of the output, such as "32×32×3".
        parameters: of all of them.
        fraction: of the model's parameters, 0 to 1.
        height, width: of its rectangle in pixels, by output size and number of channels.
    """

    kinds: tuple[str, ...]
    shape: str
    parameters: int
    fraction: float
    height: int
    width: int


def read_blocks(path: Path) -> list[Block]:
    """The blocks of a model; empty if the table is missing, as in runs of older versions.

    Raises:
        InputError: the table is damaged.
    """
    try:
        rows = read_table(path)
    except FileNotFoundError:
        return []
    try:
        groups: list[list[dict[str, str]]] = []
        for row in rows:
            new = not groups or (int(row["parameters"]) and _computes(row))
            if new or row["output"] != groups[-1][-1]["output"]:
                groups.append([])
            groups[-1].append(row)
        total = max(1, sum(int(row["parameters"]) for row in rows))
        tallest = max((_sides(group)[0] for group in groups), default=1)
        return [_block(group, total, tallest) for group in groups]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} is damaged; `thumbnet evaluate {quoted(path.parent)} --recompute` writes it "
            "again"
        ) from error


def _computes(row: dict[str, str]) -> bool:
    """Whether a layer begins a block: normalisation has parameters too, but belongs to another."""
    return "Norm" not in row["kind"]


def _block(group: list[dict[str, str]], total: int, tallest: int) -> Block:
    parameters = sum(int(row["parameters"]) for row in group)
    rows, channels = _sides(group)
    kinds = (f"{row['kind']} {row['kernel'].replace('x', '×')}".strip() for row in group)
    return Block(
        kinds=tuple(kinds),
        shape=group[-1]["output"].replace("x", "×"),
        parameters=parameters,
        fraction=parameters / total,
        height=max(4, round(HIGHEST * rows / tallest)),
        width=min(WIDEST, 4 + round(6 * math.log2(1 + channels))),
    )


def _sides(group: list[dict[str, str]]) -> tuple[int, int]:
    """Rows and channels of the output; a vector has one row."""
    sides = [0 if side == "?" else int(side) for side in group[-1]["output"].split("x") if side]
    return (sides[0] if len(sides) > 1 else 1), (sides[-1] if sides else 1)
