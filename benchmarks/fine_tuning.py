"""Speed of a training step of a backbone, by the layers that are trained and by precision.

    .venv/bin/python benchmarks/fine_tuning.py --side 128 --batch 32

The contestants take turns, and the fastest of several steps of each counts.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from harness import document, markdown_table

from thumbnet.models import build_model
from thumbnet.models.architectures.backbone import Parameters
from thumbnet.runtime import prepare_keras

PRECISIONS = ("float32", "mixed_bfloat16")
LAYERS = ("all", "top", "head")
CLASSES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/bench/fine_tuning.md"))
    options = parser.parse_args()
    steps: dict[tuple[str, str], Callable[[], object]] = {}
    for precision in PRECISIONS:
        for layers in LAYERS:
            steps[precision, layers] = training_step(precision, layers, options)
        steps[precision, "forward pass"] = forward_pass(precision, options)
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(1 + options.steps):  # the first one traces the graph
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            best[name] = min(best[name], time.perf_counter() - started)
    rows = [
        [layers, *(f"{options.batch / best[precision, layers]:.0f}" for precision in PRECISIONS)]
        for layers in (*LAYERS, "forward pass")
    ]
    table = markdown_table(["trained layers", *(f"{one}, images/s" for one in PRECISIONS)], rows)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(document("Speed of fine-tuning", table), encoding="utf-8")
    print(table)


def training_step(precision: str, layers: str, options: argparse.Namespace) -> Callable[[], object]:
    """A step of AdamW on a batch of random images."""
    keras = prepare_keras()
    images = random_images(options)
    labels = np.eye(CLASSES, dtype=np.float32)[np.arange(len(images)) % CLASSES]
    values = {"architecture": "backbone", "trainable": layers}
    model = build_model(Parameters.model_validate(values), images, CLASSES, 0, precision)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(1e-4), loss=loss)
    return lambda: model.train_on_batch(images, labels)


def forward_pass(precision: str, options: argparse.Namespace) -> Callable[[], object]:
    images = random_images(options)
    parameters = Parameters(architecture="backbone")
    model = build_model(parameters, images, CLASSES, 0, precision)
    return lambda: model.predict_on_batch(images)


def random_images(options: argparse.Namespace) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    shape = (options.batch, options.side, options.side, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


if __name__ == "__main__":
    main()
