"""How the cost of training grows with images, width, image size and batch size.

    .venv/bin/python benchmarks/cost_growth.py
    .venv/bin/python benchmarks/cost_growth.py --short

Each quantity is varied separately, starting from the network of the recipe `cnn` with blocks of 32,
64 and 128 channels, 32×32 pixels and a batch size of 256. Epochs are timed with the input pipeline;
steps are timed on the same images each time. The exponent is the slope of a least-squares line
through the logarithms: 1 means twice the cost for twice the quantity.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import harness
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from steps import Stepper, batches_of, constant_step, images_of, plain_recipe

from thumbnet.atomic import write_text
from thumbnet.figures.charts import series_style
from thumbnet.figures.style import MUTED, save_figure, style

WIDTHS = (32, 64, 128)
BATCH = 256


@dataclass(frozen=True)
class Growth:
    """Seconds as a function of one quantity.

    Attributes:
        quantity: the quantity that was varied, with its unit.
        cost: what was timed.
        values: values of the quantity, ascending.
        seconds: seconds for each value.
    """

    quantity: str
    cost: str
    values: tuple[int, ...]
    seconds: tuple[float, ...]

    @property
    def line(self) -> tuple[float, float]:
        """Exponent and prefactor of the power law, fitted by least squares to the logarithms."""
        exponent, constant = np.polyfit(np.log(self.values), np.log(self.seconds), 1)
        return float(exponent), float(np.exp(constant))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="only three small values of each")
    parser.add_argument("--steps", type=int, default=5, help="steps per median")
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "cost_growth.md")
    arguments = parser.parse_args()
    growths = [
        _grow(quantity, cost, values[:3] if arguments.short else values, measure, arguments.steps)
        for quantity, cost, values, measure in EXPERIMENTS
    ]
    for suffix in (".svg", ".png"):
        save_figure(draw(growths), arguments.out.with_suffix(suffix))
    text = describe(growths, arguments.out.stem)
    write_text(arguments.out, text)
    print(text)


def _grow(
    quantity: str,
    cost: str,
    values: Sequence[int],
    measure: Callable[[int, int], float],
    times: int,
) -> Growth:
    seconds = tuple(measure(value, times) for value in values)
    return Growth(quantity, cost, tuple(values), seconds)


def _by_images(count: int, times: int) -> float:
    images = images_of(count)
    recipe = plain_recipe(WIDTHS, BATCH)
    stepper, batches = Stepper(recipe, images), batches_of(recipe, images)
    stepper.step(*next(batches.epoch(0)))
    found = []
    for epoch in range(max(1, times // 2)):
        started = time.perf_counter()
        for batch in batches.epoch(epoch):
            stepper.step(*batch)
        found.append(time.perf_counter() - started)
    return float(np.median(found))


def _by_width(first: int, times: int) -> float:
    return _step_seconds((first, 2 * first, 4 * first), 32, BATCH, times)


def _by_size(size: int, times: int) -> float:
    return _step_seconds(WIDTHS, size, BATCH, times)


def _by_batch(batch: int, times: int) -> float:
    return _step_seconds(WIDTHS, 32, batch, times)


def _step_seconds(widths: tuple[int, ...], size: int, batch: int, times: int) -> float:
    images = images_of(batch, size)
    stepper = Stepper(plain_recipe(widths, batch), images)
    return harness.median_seconds(constant_step(stepper, images), times)


EXPERIMENTS: tuple[tuple[str, str, tuple[int, ...], Callable[[int, int], float]], ...] = (
    ("images", "epoch", (1_024, 2_048, 4_096, 8_192, 16_384), _by_images),
    ("channels of the first block", "step", (8, 16, 32, 64, 96), _by_width),
    ("image size in pixels", "step", (16, 24, 32, 48, 64), _by_size),
    ("batch size", "step", (64, 128, 256, 512, 1_024), _by_batch),
)


@style()
def draw(growths: Sequence[Growth]) -> Figure:
    """Seconds against each quantity with the fitted line, on logarithmic axes."""
    figure = Figure(figsize=(8.0, 2.6), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(growths)))
    for slot, (axes, growth) in enumerate(zip(panels, growths, strict=True)):
        exponent, constant = growth.line
        ends = np.array([growth.values[0], growth.values[-1]], dtype=float)
        axes.plot(ends, constant * ends**exponent, color=MUTED, linewidth=1)
        axes.plot(
            growth.values, growth.seconds, linestyle="none", markersize=5, **series_style(slot)
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(growth.values, [f"{value:,}" for value in growth.values], rotation=45)
        axes.xaxis.set_minor_locator(NullLocator())
        harness.label_plainly(axes.yaxis)
        axes.set_xlabel(growth.quantity)
        axes.set_ylabel(f"seconds per {growth.cost}")
        axes.set_title(f"exponent {exponent:.2f}", fontsize=9)
        axes.grid()
    return figure


def describe(growths: Sequence[Growth], stem: str) -> str:
    """The results page: exponents, and the measurements they were fitted to."""
    rows = []
    for growth in growths:
        measured = ", ".join(
            f"{value:,}: {seconds:.3g}"
            for value, seconds in zip(growth.values, growth.seconds, strict=True)
        )
        rows.append([growth.quantity, f"{growth.line[0]:.2f}", growth.cost, measured])
    return harness.document(
        "How the cost of training grows",
        "Each quantity was varied separately. The exponent is fitted by least squares to the "
        "logarithms; 1 means twice the seconds for twice the quantity. The FLOP alone would give 1 "
        "for the number of images and the batch size, and 2 for the width (except in the stem and "
        "the logits) and the image size.",
        harness.markdown_table(["quantity", "exponent", "seconds per", "measured"], rows),
        f"![Seconds against each quantity]({stem}.svg)",
    )


if __name__ == "__main__":
    main()
