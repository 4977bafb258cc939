"""Whether the input pipeline ever leaves the model waiting: step time with real and fixed input.

    .venv/bin/python benchmarks/input_pipeline.py strong fast quick
    .venv/bin/python benchmarks/input_pipeline.py quick --steps 4 --rounds 1

For each size of image that a recipe trains on, so many steps on batches as training makes them
(augmented while the step before is under way) and as many on one batch that stays, by turns; shown
are the seconds of a step, the median of the rounds, and the median of their ratios.
"""

import argparse
import statistics
import time
from pathlib import Path

import harness
from steps import Stepper, batches_of, images_of

from thumbnet import Recipe
from thumbnet.atomic import write_text
from thumbnet.training.batches import Batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "input_pipeline.md")
    arguments = parser.parse_args()
    rows: list[list[str]] = []
    for name in arguments.recipes:
        rows += _rows(name, arguments.steps, arguments.rounds)
    columns = ["recipe", "image size", "batch", "real input, ms", "fixed input, ms", "ratio"]
    text = harness.document(
        "Step time with real and with fixed input",
        f"Medians of {arguments.rounds} rounds of {arguments.steps} steps each, by turns. Real "
        "input is shuffled, resized, shifted and flipped on the way; a ratio of 1 means that no "
        "step waits for it.",
        harness.markdown_table(columns, rows),
    )
    write_text(arguments.out, text)
    print(text)


def _rows(name: str, steps: int, rounds: int) -> list[list[str]]:
    # All images in every epoch, which then has as many steps as are timed and one to begin with.
    recipe = Recipe.read(name).override({"hard_example_fraction": 1.0})
    images = images_of((steps + 1) * recipe.batch_size)
    stepper, batches = Stepper(recipe, images), batches_of(recipe, images)
    sizes = {batches.image_size(epoch): epoch for epoch in range(recipe.epochs)}
    rows = []
    for size, epoch in sorted(sizes.items()):
        pairs = [_time(stepper, batches, epoch, steps) for _ in range(rounds + 1)][1:]
        real, fixed = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(first / second for first, second in pairs)
        shape = f"{size[0]}×{size[1]}"
        milliseconds = [f"{1000 * seconds:.0f}" for seconds in (real, fixed)]
        rows.append([name, shape, str(batches.size), *milliseconds, f"{ratio:.2f}"])
    return rows


def _time(stepper: Stepper, batches: Batches, epoch: int, steps: int) -> tuple[float, float]:
    """Seconds of a step with batches as training makes them, and with the first of them."""
    supply = batches.epoch(epoch)
    first = next(supply)
    stepper.step(*first)  # compiles for this size, the first time
    started = time.perf_counter()
    for batch in supply:
        stepper.step(*batch)
    real = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(steps):
        stepper.step(*first)
    return real / steps, (time.perf_counter() - started) / steps


if __name__ == "__main__":
    main()
