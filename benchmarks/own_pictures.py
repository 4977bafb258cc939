"""Compares `auto` with common alternatives on folders of images.

    .venv/bin/pip install scikit-image
    .venv/bin/python benchmarks/own_pictures.py DATA… --seeds 3 --budgets 60 180

DATA are folders of images, or "digits" for scikit-learn's digits as PNG files. The scikit-learn
contestants use images of 64 pixels and are fitted to the training and validation images together;
the tutorial's network is trained for as long as the largest budget.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from harness import PEERS, RESULTS, document, markdown_table, run_script
from PIL import Image

from thumbnet.auto import SCRATCH
from thumbnet.backbones import is_at_hand
from thumbnet.data.dataset import Dataset
from thumbnet.data.load import load
from thumbnet.evaluation.intervals import wilson

SIDE = 64
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Result:
    """One contestant on one dataset with one seed."""

    data: str
    contestant: str
    seed: int
    accuracy: float
    macro_f1: float
    test_images: int
    seconds: float
    model: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budgets", type=int, nargs="+", default=[60, 180])
    parser.add_argument("--only", nargs="+", default=["hog", "trees", "tutorial", "auto"])
    parser.add_argument("--starts", nargs="+", choices=[SCRATCH, "any"], default=[SCRATCH, "any"])
    parser.add_argument("--out", type=Path, default=RESULTS / "own_pictures.md")
    options = parser.parse_args()
    found: list[Result] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.data:
            folder = write_digits(Path(scratch)) if name == "digits" else Path(name)
            for result in contest(folder, options, Path(scratch)):
                print(result, flush=True)
                found.append(result)
                options.out.write_text(report(found), encoding="utf-8")


def contest(folder: Path, options: argparse.Namespace, scratch: Path) -> Iterator[Result]:
    """All contestants on one folder."""
    dataset = load(folder, image_size=SIDE)
    has_backbone = is_at_hand("efficientnet_lite0")
    if "hog" in options.only:
        yield hog_and_svm(dataset)
    for seed in range(options.seeds):
        if "trees" in options.only:
            yield extra_trees(dataset, seed)
        if "tutorial" in options.only:
            yield tutorial(folder, max(options.budgets), seed)
        if "auto" in options.only:
            for budget in options.budgets:
                for start in options.starts if has_backbone else [SCRATCH]:
                    out = scratch / f"{folder.name}-{budget}-{start}-{seed}"
                    yield automatic(folder, budget, start, seed, out)


def hog_and_svm(dataset: Dataset) -> Result:
    """Histograms of oriented gradients, and a support vector machine with an RBF kernel."""
    from skimage.feature import hog
    from sklearn.svm import SVC

    def features(images: Any) -> npt.NDArray[np.float64]:
        described = [
            hog(image, pixels_per_cell=(8, 8), cells_per_block=(2, 2), channel_axis=-1)
            for image in images
        ]
        return np.array(described)

    images, labels = fitted_to(dataset)
    started = time.perf_counter()
    answers = SVC(C=10).fit(features(images), labels).predict(features(dataset.test.images))
    return judged(dataset, "HOG and SVM", 0, answers, time.perf_counter() - started)


def extra_trees(dataset: Dataset, seed: int) -> Result:
    """Extremely randomised trees on the pixels of images reduced to half the side."""
    from sklearn.ensemble import ExtraTreesClassifier

    def pixels(images: Any) -> npt.NDArray[np.float64]:
        halved = images.reshape(len(images), SIDE // 2, 2, SIDE // 2, 2, -1).mean(axis=(2, 4))
        flat: npt.NDArray[np.float64] = halved.reshape(len(images), -1)
        return flat

    images, labels = fitted_to(dataset)
    started = time.perf_counter()
    trees = ExtraTreesClassifier(500, n_jobs=-1, random_state=seed).fit(pixels(images), labels)
    answers = trees.predict(pixels(dataset.test.images))
    return judged(dataset, "ExtraTrees on pixels", seed, answers, time.perf_counter() - started)


def tutorial(folder: Path, seconds: int, seed: int) -> Result:
    """The network of Keras's tutorial for small datasets, trained for as long as the budget."""
    script = PEERS / "tutorial_own_pictures.py"
    (values,) = run_script(script, str(folder), str(seconds), str(seed))
    return Result(data=folder.name, contestant=f"tutorial's CNN, {seconds} s", seed=seed, **values)


def automatic(folder: Path, budget: int, start: str, seed: int, out: Path) -> Result:
    """`thumbnet train --data FOLDER` in a separate process."""
    command = [sys.executable, "-m", "thumbnet", "train", "--data", str(folder), "--out", str(out)]
    command += [
        "--budget",
        f"{budget}s",
        "--seed",
        str(seed),
        *(["--from", start] if start == SCRATCH else []),
    ]
    subprocess.run(command, check=True, capture_output=True)
    metrics = json.loads((out / "metrics.json").read_text())
    allowed = "from scratch" if start == SCRATCH else "backbone allowed"
    return Result(
        data=folder.name,
        contestant=f"auto, {budget} s, {allowed}",
        seed=seed,
        accuracy=metrics["accuracy"],
        macro_f1=metrics["macro_f1"],
        test_images=metrics["test_images"],
        seconds=metrics["train_seconds"],
        model=metrics["architecture"],
    )


def fitted_to(dataset: Dataset) -> tuple[Any, Labels]:
    """The training and validation images."""
    parts = [part for part in (dataset.train, dataset.validation) if part is not None]
    images = np.concatenate([np.asarray(part.images[:]) for part in parts])
    return images, np.concatenate([part.labels for part in parts])


def judged(dataset: Dataset, contestant: str, seed: int, answers: Labels, seconds: float) -> Result:
    from sklearn.metrics import f1_score

    truth = dataset.test.labels
    return Result(
        data=dataset.name,
        contestant=contestant,
        seed=seed,
        accuracy=float((answers == truth).mean()),
        macro_f1=float(f1_score(truth, answers, average="macro")),
        test_images=len(truth),
        seconds=seconds,
    )


def write_digits(folder: Path) -> Path:
    """scikit-learn's digits as a folder of PNG files."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "digits" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        grey = np.minimum(pixels.reshape(8, 8) * 16, 255).astype(np.uint8)
        Image.fromarray(grey).save(place / f"{number:04d}.png")
    return folder / "digits"


def report(found: list[Result]) -> str:
    return document("Unprepared image folders", table(found))


def table(found: list[Result]) -> str:
    """A row for each contestant on each dataset: means over seeds, an interval for one run."""
    rows = []
    for data, contestant in dict.fromkeys((one.data, one.contestant) for one in found):
        same = [one for one in found if (one.data, one.contestant) == (data, contestant)]
        accuracy = np.mean([one.accuracy for one in same])
        right = round(accuracy * same[0].test_images)
        interval = wilson(right, same[0].test_images)
        rows.append(
            [
                data,
                contestant,
                str(len(same)),
                f"{accuracy:.1%}",
                "" if interval is None else f"{interval.low:.1%} to {interval.high:.1%}",
                f"{np.mean([one.macro_f1 for one in same]):.3f}",
                f"{np.mean([one.seconds for one in same]):.0f}",
                ", ".join(dict.fromkeys(one.model for one in same)),
            ]
        )
    header = ["data", "contestant", "seeds", "accuracy", "95% CI", "macro F1", "seconds", "model"]
    return markdown_table(header, rows)


if __name__ == "__main__":
    main()
