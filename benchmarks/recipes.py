"""What recipes reach, over several seeds: a table of validation and test figures.

    .venv/bin/python benchmarks/recipes.py ann cnn --seeds 0 1 2
    .venv/bin/python benchmarks/recipes.py cnn --try benchmarks/cnn_variants.toml

With `--try`, one row for each table of overrides in the file; such rows are for choosing, and
show the validation split alone.
"""

import argparse
import statistics
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from thumbnet import Recipe, load_cifar10, train
from thumbnet.runtime import describe_environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--try", dest="variants", type=Path, help="TOML tables of overrides")
    arguments = parser.parse_args()
    dataset = load_cifar10()
    here = describe_environment()
    print(f"{dataset.source}; {here['processor']}, {here['threads']} threads; {here['versions']}")
    print(f"commit {here['git_revision']}\n")

    columns = ["recipe", "seeds", "validation accuracy"]
    if not arguments.variants:
        columns += ["seconds", "test accuracy", "macro F1", "log loss"]
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    for name, recipe in _recipes(arguments.recipes, arguments.variants):
        runs = [_measure(recipe.override({"seed": seed}), dataset) for seed in arguments.seeds]
        keys = ["validation_accuracy"]
        if not arguments.variants:
            keys += ["train_seconds", "accuracy", "macro_f1", "log_loss"]
        cells = [_mean_and_deviation([run[key] for run in runs]) for key in keys]
        print(f"| {name} | {len(runs)} | " + " | ".join(cells) + " |", flush=True)


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


def _measure(recipe: Recipe, dataset: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        return train(recipe, dataset, Path(directory) / "run").metrics()


def _mean_and_deviation(values: list[float]) -> str:
    mean = statistics.mean(values)
    figure = f"{mean:.1f}" if mean > 10 else f"{mean:.4f}"
    if len(values) == 1:
        return figure
    deviation = statistics.stdev(values)
    return f"{figure} ± {deviation:.1f}" if mean > 10 else f"{figure} ± {deviation:.4f}"


if __name__ == "__main__":
    main()
