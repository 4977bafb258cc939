"""Make the model and the example images that ship with the service. Run by hand.

    .venv/bin/python tools/make_model.py
    .venv/bin/python tools/make_model.py --run runs/fast

Trains the recipe `fast`, with fewer channels and more epochs, on CIFAR-10 with 10% held out for
calibration, exports it to LiteRT, and copies the files that serving needs. `--run` uses a finished
run instead. The examples are test images of the bundled sample: the first correctly classified
image of each class shown, and the image with the lowest confidence.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from thumbnet import Recipe, load_cifar10, train
from thumbnet.atomic import replacing_path
from thumbnet.engines import open_engine
from thumbnet.export import export_run
from thumbnet.record import write_record
from thumbnet.runs.records import Exports
from thumbnet.runs.run import Run
from thumbnet.serving.model import bundled_run

FORMAT = "litert"
EXAMPLES = ("cat", "ship", "frog", "horse", "automobile", "airplane")
EXAMPLES_PATH = Path(bundled_run().path).parents[1] / "page" / "files" / "examples"
LARGEST_BYTES = 2_000_000
# With the channels of `fast` the file would be three times too large.
SMALLER = {"model.widths": [32, 96, 128], "epochs": 12}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="finished run to use instead of training one")
    arguments = parser.parse_args()
    dataset = load_cifar10()
    with tempfile.TemporaryDirectory() as directory:
        recipe = Recipe.read("fast").override(SMALLER)
        run = Run.open(arguments.run) if arguments.run else train(recipe, dataset, directory)
        if FORMAT not in run.exports():
            export_run(run, FORMAT, dataset, print)
        keep(run)
    draw_examples()


def keep(run: Run) -> None:
    """Copy the files of a run that serving needs."""
    kept = bundled_run()
    shutil.rmtree(kept.path, ignore_errors=True)
    kept.exports_path.mkdir(parents=True)
    shutil.copy(run.recipe_path, kept.recipe_path)
    shutil.copy(run.metrics_path, kept.metrics_path)
    shutil.copy(run.environment_path, kept.environment_path)
    shutil.copy(run.exports_path / "model.tflite", kept.exports_path)
    write_record(kept.exports_record_path, Exports({FORMAT: run.exports()[FORMAT]}))
    size = sum(path.stat().st_size for path in kept.path.rglob("*") if path.is_file())
    print(f"{kept.path}: {size:,} bytes, {open_engine(kept).name}")
    if size > LARGEST_BYTES:
        raise SystemExit(f"more than {LARGEST_BYTES:,} bytes")


def draw_examples() -> None:
    """Write the example images of the web page."""
    engine, sample = open_engine(bundled_run()), load_cifar10(source="sample")
    images, labels = np.asarray(sample.test.images), np.asarray(sample.test.labels)
    probabilities = engine.predict(images)
    correct = probabilities.argmax(axis=1) == labels
    EXAMPLES_PATH.mkdir(parents=True, exist_ok=True)
    for name in EXAMPLES:
        position = int(np.flatnonzero(correct & (labels == engine.class_names.index(name)))[0])
        _save(Image.fromarray(images[position]), name)
    _save(Image.fromarray(images[probabilities.max(axis=1).argmin()]), "unsure")
    across, down = np.meshgrid(np.arange(32), np.arange(32))
    tiles = np.where(((across // 4 + down // 4) % 2)[..., None], (214, 170, 60), (38, 84, 112))
    _save(Image.fromarray(tiles.astype(np.uint8)), "tiles")


def _save(picture: Image.Image, name: str) -> None:
    with replacing_path(EXAMPLES_PATH / f"{name}.png") as path:
        picture.save(path, "PNG")


if __name__ == "__main__":
    main()
