"""Results of recipes over several seeds: a table of validation and test metrics.

    .venv/bin/python benchmarks/recipes.py ann cnn --seeds 0 1 2
    .venv/bin/python benchmarks/recipes.py fast --seeds 0 1 2 --validation 0 --keep runs/speed
    .venv/bin/python benchmarks/recipes.py fast --seeds 0 1 2 --validation 0 --precision float32
    .venv/bin/python benchmarks/recipes.py cnn --try benchmarks/cnn_variants.toml

With `--try`, there is one row for each table of overrides in the file; these rows are for choosing
a recipe, and show validation accuracy only. With `--keep`, the runs are kept there, and a run that
already exists is resumed instead of trained again.

The cost is in sgemm-TFLOP: training time multiplied by the machine's sgemm rate, measured just
before. `of sgemm` is the FLOP of the training as a fraction of that.
"""

import argparse
import statistics
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from thumbnet import Recipe, load_cifar10, resume, train
from thumbnet.machine import describe_host
from thumbnet.runs.records import Metrics
from thumbnet.runs.run import Run

FIGURES: list[tuple[str, Callable[[Metrics], float | None]]] = [
    ("validation accuracy", lambda run: run.validation_accuracy),
    ("seconds", lambda run: run.train_seconds),
    ("sgemm-TFLOP", lambda run: run.sgemm_tflop),
    ("of sgemm", lambda run: run.train_flops / 1e12 / run.sgemm_tflop),
    ("test accuracy", lambda run: run.accuracy),
    ("with TTA", lambda run: run.accuracy_tta),
    ("macro F1", lambda run: run.macro_f1),
    ("log loss", lambda run: run.log_loss),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--try", dest="variants", type=Path, help="TOML tables of overrides")
    parser.add_argument("--validation", type=float, help="validation fraction; 0 for none")
    parser.add_argument("--precision", help="overrides the precision of each recipe")
    parser.add_argument("--keep", type=Path, help="directory for the runs")
    arguments = parser.parse_args()
    dataset = load_cifar10()
    here = describe_host()
    print(f"{dataset.source}; {here.processor}, {here.threads} threads; {here.versions}")
    print(f"commit {here.git_revision}\n")

    figures = FIGURES if not arguments.variants else FIGURES[:1]
    print(
        "| recipe | precision | seeds | trained on | "
        + " | ".join(title for title, _ in figures)
        + " |"
    )
    print("|" + " --- |" * (4 + len(figures)))
    asked = {"validation": arguments.validation, "precision": arguments.precision}
    overrides = {key: value for key, value in asked.items() if value is not None}
    for name, recipe in _recipes(arguments.recipes, arguments.variants):
        runs = [
            _measure(recipe.override(overrides | {"seed": seed}), dataset, arguments.keep)
            for seed in arguments.seeds
        ]
        all_metrics = [metrics for metrics, _ in runs]
        cells = [_mean_and_std(list(map(value, all_metrics))) for _, value in figures]
        images, precision = f"{all_metrics[0].train_images:,}", runs[0][1]
        print(
            f"| {name} | {precision} | {len(runs)} | {images} | " + " | ".join(cells) + " |",
            flush=True,
        )


def _recipes(names: list[str], variants: Path | None) -> list[tuple[str, Recipe]]:
    plain = [(name, Recipe.read(name)) for name in names]
    if variants is None:
        return plain
    tables = tomllib.loads(variants.read_text(encoding="utf-8"))
    return [
        (f"{name}, {label}", recipe.override(settings))
        for name, recipe in plain
        for label, settings in tables.items()
    ]


def _measure(recipe: Recipe, dataset: Any, keep: Path | None) -> tuple[Metrics, str]:
    with tempfile.TemporaryDirectory() as directory:
        path = (keep or Path(directory)) / f"{recipe.name}-{recipe.seed}"
        run = train(recipe, dataset, path) if Run.is_free(path) else resume(path, dataset)
        return run.metrics(), run.recipe().precision


def _mean_and_std(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    mean = statistics.mean(known)
    digits = 1 if mean > 10 else 4
    if len(known) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {statistics.stdev(known):.{digits}f}"


if __name__ == "__main__":
    main()
