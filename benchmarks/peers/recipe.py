"""One of Thumbnet's recipes through its public API, timed like the peers.

    .venv/bin/python benchmarks/peers/recipe.py fast --seed 0

Trains on all training images (`validation = 0`). Prints one JSON object per epoch: `epoch`,
`seconds` of training so far, `accuracy` on the test images, and after the last epoch
`accuracy_tta`. Between epochs it only makes a hard link to the checkpoint; after training, each
checkpoint is loaded and evaluated on the test images. That curve is only for reporting: the recipe
was fixed before.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from thumbnet import Dataset, Recipe, load_cifar10, train
from thumbnet.engines import PREDICTION_BATCH
from thumbnet.models import build_model
from thumbnet.training.checkpoints import set_weights
from thumbnet.training.progress import SilentDisplay


class EpochEnds(SilentDisplay):
    """Records the time of each epoch, and keeps the checkpoints that training would delete.

    Attributes:
        seconds: training time at the end of each epoch.
        kept: the checkpoint of each epoch except the last.
    """

    def __init__(self, checkpoints: Path, keep: Path) -> None:
        self._checkpoints, self._keep = checkpoints, keep
        self.seconds: list[float] = []
        self.kept: list[Path] = []

    def epoch(self, row: Mapping[str, float]) -> None:
        self.seconds.append(row["seconds"])

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        """Keep the checkpoint of the last epoch, which is written after `epoch` is called."""
        if len(self.kept) < len(self.seconds):
            self.kept.append(self._keep / f"epoch-{len(self.seconds):04d}.npz")
            os.link(max(self._checkpoints.glob("step-*.npz")), self.kept[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", help="source of CIFAR-10; 'sample' for a quick try")
    arguments = parser.parse_args()
    settings = {"validation": 0, "seed": arguments.seed}
    if arguments.epochs:
        settings["epochs"] = arguments.epochs
    recipe = Recipe.read(arguments.recipe).override(settings)
    dataset = load_cifar10(source=arguments.source)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ends = EpochEnds(directory / "run" / "checkpoints", directory)
        metrics = train(recipe, dataset, directory / "run", display=ends).metrics()
        accuracies = [*_accuracies(recipe, dataset, ends.kept), metrics.accuracy]
    rows = [
        {"epoch": epoch, "seconds": seconds, "accuracy": accuracy}
        for epoch, (seconds, accuracy) in enumerate(
            zip(ends.seconds, accuracies, strict=True), start=1
        )
    ]
    if metrics.accuracy_tta is not None:
        rows[-1]["accuracy_tta"] = metrics.accuracy_tta
    for row in rows:
        print(json.dumps(row), flush=True)


def _accuracies(recipe: Recipe, dataset: Dataset, checkpoints: list[Path]) -> list[float]:
    """Test accuracy of each checkpoint."""
    # In float32, like the model that training saves.
    model = build_model(recipe.model, dataset.train.images, len(dataset.class_names), recipe.seed)
    found = []
    for path in checkpoints:
        with np.load(path, allow_pickle=False) as arrays:
            set_weights(model, {key: arrays[key] for key in arrays if key.startswith("model_")})
        logits = model.predict(dataset.test.images, batch_size=PREDICTION_BATCH, verbose=0)
        found.append(float((logits.argmax(axis=1) == dataset.test.labels).mean()))
    return found


if __name__ == "__main__":
    main()
