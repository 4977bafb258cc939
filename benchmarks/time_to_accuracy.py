"""Test accuracy over training time: Thumbnet's recipes, a tutorial and the speed record's recipe.

    .venv/bin/python benchmarks/time_to_accuracy.py quick fast tutorial pytorch pytorch-16 \
        --seeds 0 1 2
    .venv/bin/python benchmarks/time_to_accuracy.py strong pytorch-wide-16 --seeds 0
    .venv/bin/python benchmarks/time_to_accuracy.py --draw

The contestants run one after another in separate processes, and each writes a CSV file per seed to
`results/time_to_accuracy/`; the machine's sgemm rate is measured right before. Then the figure and
the table are made from all files there; `--draw` does only that. Contestants are recipes and the
names in `PEERS`.

Every contestant trains on all 50,000 training images. The test images are read after each epoch,
outside the measured time, for the curve only: they were not used to choose a recipe or to stop a
run.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from thumbnet import Dataset, load_cifar10
from thumbnet.atomic import write_text
from thumbnet.figures.charts import legend, series_style
from thumbnet.figures.style import save_figure, style
from thumbnet.machine import sgemm_gflops

CURVES = harness.RESULTS / "time_to_accuracy"
COLUMNS = ("epoch", "seconds", "sgemm_tflop", "accuracy", "accuracy_tta")
LEVELS = (0.7, 0.8, 0.85, 0.9, 0.93)


@dataclass(frozen=True)
class Peer:
    """A contestant that is not a Thumbnet recipe: its name in the figure, script and arguments."""

    title: str
    script: str
    arguments: tuple[str, ...] = ()
    torch: bool = False


# Epochs, batch size and widths that give the record's recipe the cost of `fast` in float32.
_THIRD = ("--widths", "32", "96", "128", "--batch", "1000", "--epochs", "6")
_16_BITS = ("--precision", "bfloat16")
PEERS = {
    "tutorial": Peer("tutorial CNN, TensorFlow as installed", "tutorial_cnn.py"),
    "pytorch": Peer(
        "record's recipe, PyTorch, a third of the width", "pytorch_record.py", _THIRD, torch=True
    ),
    "pytorch-16": Peer(
        "record's recipe, PyTorch, a third of the width, in 16 bits",
        "pytorch_record.py",
        (*_THIRD, *_16_BITS),
        torch=True,
    ),
    "pytorch-wide": Peer("record's recipe, PyTorch", "pytorch_record.py", torch=True),
    "pytorch-wide-16": Peer(
        "record's recipe, PyTorch, in 16 bits", "pytorch_record.py", _16_BITS, torch=True
    ),
}


@dataclass(frozen=True)
class Curve:
    """One run of one contestant: rows of `COLUMNS`, one per epoch."""

    contestant: str
    rows: tuple[dict[str, float], ...]

    @property
    def last(self) -> dict[str, float]:
        return self.rows[-1]

    def cost_of(self, level: float) -> float | None:
        """sgemm-TFLOP until the end of the first epoch that reaches an accuracy, or None."""
        reached = (row["sgemm_tflop"] for row in self.rows if row["accuracy"] >= level)
        return next(reached, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contestants", nargs="*", help=f"recipes, {', '.join(PEERS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="overrides the epochs of each, for a quick try")
    parser.add_argument("--source", help="source of CIFAR-10; 'sample' for a quick try")
    parser.add_argument("--curves", type=Path, default=CURVES, help="directory of the CSV files")
    parser.add_argument("--draw", action="store_true", help="only draw, without training")
    arguments = parser.parse_args()
    if not arguments.draw:
        if not arguments.contestants:
            parser.error("name contestants, or give --draw")
        with tempfile.TemporaryDirectory() as directory:
            data = Path(directory) / "cifar10.npz"
            _write_arrays(load_cifar10(source=arguments.source), data)
            # The outer loop is over seeds, so that a slowdown of the machine affects all.
            for seed in arguments.seeds:
                for contestant in arguments.contestants:
                    _run(contestant, seed, data, arguments)
    curves = [read_curve(path) for path in sorted(arguments.curves.glob("*.csv"))]
    if not curves:
        parser.error(f"{arguments.curves} has no curves yet; name contestants to run")
    figure = draw(curves)
    for suffix in (".svg", ".png"):
        save_figure(figure, arguments.curves.with_suffix(suffix))
    write_text(arguments.curves.with_suffix(".md"), describe(curves, arguments.curves.name))


def _write_arrays(dataset: Dataset, path: Path) -> None:
    np.savez(
        path,
        train_images=dataset.train.images,
        train_labels=dataset.train.labels,
        test_images=dataset.test.images,
        test_labels=dataset.test.labels,
    )


def _run(contestant: str, seed: int, data: Path, arguments: argparse.Namespace) -> None:
    peer = PEERS.get(contestant)
    options = ["--seed", str(seed)]
    if arguments.epochs:
        options += ["--epochs", str(arguments.epochs)]
    environment = harness.with_torch() if peer and peer.torch else {}
    gflops = sgemm_gflops()
    print(f"{contestant}, seed {seed}: sgemm {gflops:.0f} GFLOP/s", file=sys.stderr, flush=True)
    if peer:
        command = [peer.script, str(data), *peer.arguments, *options]
    else:
        source = ["--source", arguments.source] if arguments.source else []
        command = ["recipe.py", contestant, *options, *source]
    script, *rest = command
    rows = harness.run_script(harness.PEERS / script, *rest, environment=environment)
    _write_curve(arguments.curves / f"{contestant}.{seed}.csv", rows, gflops)


def _write_curve(path: Path, rows: Sequence[dict[str, Any]], gflops: float) -> None:
    origin = [*harness.provenance(), f"sgemm {gflops:.1f} GFLOP/s, measured right before"]
    lines = [f"# {line}" for line in origin]
    lines.append(",".join(COLUMNS))
    for row in rows:
        values = row | {"sgemm_tflop": row["seconds"] * gflops / 1000}
        lines.append(",".join(f"{values[name]:.6g}" if name in values else "" for name in COLUMNS))
    write_text(path, "\n".join(lines) + "\n")


def read_curve(path: Path) -> Curve:
    """Read a curve from a file CONTESTANT.SEED.csv; lines that start with # are provenance."""
    contestant, _, _ = path.stem.rpartition(".")
    lines = path.read_text(encoding="utf-8").splitlines()
    table = csv.DictReader(line for line in lines if not line.startswith("#"))
    rows = tuple({name: float(text) for name, text in row.items() if text} for row in table)
    return Curve(contestant, rows)


def _by_contestant(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """The curves of each contestant, Thumbnet's recipes before the peers."""
    names = sorted({curve.contestant for curve in curves}, key=lambda name: (name in PEERS, name))
    return {name: [curve for curve in curves if curve.contestant == name] for name in names}


def _title(contestant: str) -> str:
    return PEERS[contestant].title if contestant in PEERS else contestant


@style()
def draw(curves: Sequence[Curve]) -> Figure:
    """Accuracy over seconds and over sgemm-TFLOP, a line per run; peers are dashed."""
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    grouped = _by_contestant(curves)
    for slot, (contestant, runs) in enumerate(grouped.items()):
        line_style = "--" if contestant in PEERS else "-"
        for axes, column in zip(panels, ("seconds", "sgemm_tflop"), strict=True):
            for run in runs:
                axes.plot(
                    [row[column] for row in run.rows],
                    [row["accuracy"] for row in run.rows],
                    linestyle=line_style,
                    linewidth=1.2,
                    markersize=3,
                    **series_style(slot),
                )
    for axes, title in zip(panels, ("training seconds", "training sgemm-TFLOP"), strict=True):
        axes.set_xscale("log")
        harness.label_plainly(axes.xaxis)
        axes.set_xlabel(title)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid()
    panels[0].set_ylabel("test accuracy")
    handles = [
        Line2D([], [], linestyle="--" if name in PEERS else "-", markersize=3, **series_style(slot))
        for slot, name in enumerate(grouped)
    ]
    legend(figure, handles, list(grouped))
    return figure


def describe(curves: Sequence[Curve], name: str) -> str:
    """The results page of the files in the folder `name`."""
    columns = ["contestant", "runs", "epochs", "test accuracy", "with TTA", "seconds"]
    columns += ["sgemm-TFLOP", *(f"to {level:.0%}" for level in LEVELS)]
    rows = []
    for contestant, runs in _by_contestant(curves).items():
        cells = [_title(contestant), str(len(runs)), str(len(runs[0].rows))]
        cells += [
            _cell(runs, lambda run: run.last["accuracy"], 4),
            _cell(runs, lambda run: run.last.get("accuracy_tta"), 4),
            _cell(runs, lambda run: run.last["seconds"], 0),
            _cell(runs, lambda run: run.last["sgemm_tflop"], 1),
        ]
        cells += [_cell(runs, partial(Curve.cost_of, level=level), 1) for level in LEVELS]
        rows.append(cells)
    return harness.document(
        "Test accuracy over training time",
        f"This page is made from the files in `{name}/`, each of which states its command, "
        "versions, machine, date and commit.",
        "Mean ± standard deviation over runs with different seeds; one run is not reliable. The "
        'columns "to …" are the sgemm-TFLOP at the end of the first epoch that reaches that '
        "accuracy without test-time augmentation (TTA, six views); a dash means that not every run "
        "reaches it. All contestants train on all 50,000 training images. The test images are "
        "read after every epoch, outside the measured time, for the curve only: the recipes were "
        "fixed before, on a validation split.",
        harness.markdown_table(columns, rows),
        f"![Test accuracy over time]({name}.svg)",
    )


def _cell(runs: Sequence[Curve], figure: Callable[[Curve], float | None], digits: int) -> str:
    values = [figure(run) for run in runs]
    known = [value for value in values if value is not None]
    return harness.mean_and_std(known, digits) if len(known) == len(values) else "–"


if __name__ == "__main__":
    main()
