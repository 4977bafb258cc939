"""How many validation images are needed to fit a temperature, by simulation.

    .venv/bin/python benchmarks/temperature_size.py --out benchmarks/results/temperature_size.md

A classifier with known probabilities is made over- or underconfident by a known temperature.
Temperatures are fitted on samples of its predictions and evaluated on all of them: their effect on
the calibration error and the log loss, which are free of noise because the true probabilities are
known.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from harness import document, markdown_table
from scipy.special import log_softmax, softmax

from thumbnet.evaluation.calibration import fit_temperature
from thumbnet.evaluation.predictions import Predictions

IMAGES = 20_000
JUDGED = 5_000
BINS = 15
SIZES = (15, 30, 50, 100, 200, 500)
# Number of classes and distance between them; the table shows the resulting accuracies.
PROBLEMS = ((2, 2.0), (10, 2.2), (10, 4.0), (100, 3.5))
NEEDED = (1.0, 0.8, 1.25, 1.7)

Array = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200, help="validation splits of each cell")
    parser.add_argument("--out", type=Path, default=Path("runs/bench/temperature_size.md"))
    arguments = parser.parse_args()
    rows = [
        row for classes, distance in PROBLEMS for row in rows_of(classes, distance, arguments.draws)
    ]
    page = document(
        "How many validation images are needed to fit a temperature",
        f"{arguments.draws} simulated validation splits per cell. Each cell: mean calibration "
        "error after fitting, in points; in parentheses the mean change of the log loss, in "
        "thousandths of a nat. A true temperature of 1 means that the classifier is already "
        "calibrated.",
        markdown_table(
            [
                "classes",
                "accuracy",
                "true temperature",
                "unfitted",
                *(f"{size} images" for size in SIZES),
            ],
            rows,
        ),
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(page, encoding="utf-8")
    print(page)


def rows_of(classes: int, distance: float, draws: int) -> list[list[str]]:
    """A row for each true temperature."""
    random = np.random.default_rng(0)
    logits = calibrated_logits(classes, distance, random)
    accuracy = softmax(logits, axis=1).max(axis=1).mean()
    rows = []
    for needed in NEEDED:
        judged = logits[:JUDGED]
        error, loss = judge(judged, needed, 1.0)
        cells = [f"{100 * error:.1f}"]
        for size in SIZES:
            found = []
            for _ in range(draws):
                chosen = random.integers(JUDGED, IMAGES, size)
                fitted = fit(logits[chosen], needed, random)
                found.append(judge(judged, needed, fitted))
            mean_error, mean_loss = np.mean(found, axis=0)
            cells.append(f"{100 * mean_error:.1f} ({1000 * (mean_loss - loss):+.0f})")
        rows.append([str(classes), f"{accuracy:.2f}", f"{needed:g}", *cells])
    return rows


def calibrated_logits(classes: int, distance: float, random: np.random.Generator) -> Array:
    """Logits whose softmax is the true probability of each class; some images are harder."""
    labels = random.integers(classes, size=IMAGES)
    clarity = distance * random.gamma(2, 0.5, IMAGES)
    seen = random.normal(size=(IMAGES, classes))
    seen[np.arange(IMAGES), labels] += clarity
    logits: Array = clarity[:, None] * seen
    return logits


def fit(logits: Array, needed: float, random: np.random.Generator) -> float:
    """The temperature fitted to labels drawn from the true probabilities."""
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    names = tuple(map(str, range(logits.shape[1])))
    given = softmax(logits * needed, axis=1).astype(np.float32)
    return fit_temperature(Predictions(given, labels, np.arange(len(labels)), names))


def judge(logits: Array, needed: float, temperature: float) -> tuple[float, float]:
    """Expected calibration error and log loss of the classifier at a temperature."""
    true = softmax(logits, axis=1)
    said = log_softmax(logits * needed / temperature, axis=1)
    loss = -(true * said).sum(axis=1).mean()
    confidence = np.exp(said.max(axis=1))
    right = true[np.arange(len(true)), said.argmax(axis=1)]
    return calibration_error(confidence, right), float(loss)


def calibration_error(confidence: Array, right: Sequence[float] | Array) -> float:
    """With bins of equal width, as Thumbnet computes it."""
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, np.asarray(right) - confidence, BINS)
    return float(np.abs(gaps).sum() / len(confidence))


if __name__ == "__main__":
    main()
