"""Whether the model ever waits for the input pipeline: step time with real and with fixed input.

    .venv/bin/python benchmarks/input_pipeline.py strong fast quick
    .venv/bin/python benchmarks/input_pipeline.py quick --steps 4 --rounds 1

For each image size that a recipe trains on, steps on real batches (augmented during the previous
step) alternate with the same number of steps on one fixed batch. The results are the median time of
a step over the rounds, and the median of their ratios.
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
    parser.add_argument("--steps", type=int, default=20, help="steps per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "input_pipeline.md")
    arguments = parser.parse_args()
    rows: list[list[str]] = []
    for name in arguments.recipes:
        rows += _rows(name, arguments.steps, arguments.rounds)
    columns = ["recipe", "image size", "batch", "real input, ms", "fixed input, ms", "ratio"]
    text = harness.document(
        "Step time with real and with fixed input",
        f"Medians of {arguments.rounds} rounds of {arguments.steps} steps, alternating between the "
        "two. Real input is shuffled, resized, cropped and flipped on the fly; a ratio of 1 means "
        "that no step waits for it.",
        harness.markdown_table(columns, rows),
    )
    write_text(arguments.out, text)
    print(text)


def _rows(name: str, steps: int, rounds: int) -> list[list[str]]:
    # With all images in every epoch, an epoch has the timed steps and one warm-up step.
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
    """Seconds per step with real batches, and with the first one repeated."""
    real_batches = batches.epoch(epoch)
    first = next(real_batches)
    stepper.step(*first)  # compiles for a new image size
    started = time.perf_counter()
    for batch in real_batches:
        stepper.step(*batch)
    real = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(steps):
        stepper.step(*first)
    return real / steps, (time.perf_counter() - started) / steps


if __name__ == "__main__":
    main()
