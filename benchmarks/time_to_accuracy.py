"""Test accuracy over training time: Thumbnet's recipes beside a tutorial and the record's recipe.

    .venv/bin/python benchmarks/time_to_accuracy.py quick fast tutorial pytorch pytorch-16 \
        --seeds 0 1 2
    .venv/bin/python benchmarks/time_to_accuracy.py strong pytorch-wide-16 --seeds 0
    .venv/bin/python benchmarks/time_to_accuracy.py --draw

Each contestant runs in a process of its own, one after another, and leaves a CSV file for each
seed in `results/time_to_accuracy/`; the machine's sgemm rate is measured right before. Then, or
with `--draw` alone, figure and table are made of all files that are there. Contestants are the
names of recipes, and those of `PEERS`.

Every contestant trains on all 50,000 training images and reads the test images after each epoch,
off the clock. That is for the curve alone: no recipe was chosen, and no run ended, by it.
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
from thumbnet.figures.charts import legend, look
from thumbnet.figures.style import save_figure, style
from thumbnet.machine import sgemm_gflops

CURVES = harness.RESULTS / "time_to_accuracy"
COLUMNS = ("epoch", "seconds", "sgemm_tflop", "accuracy", "accuracy_tta")
LEVELS = (0.7, 0.8, 0.85, 0.9, 0.93)


@dataclass(frozen=True)
class Peer:
    """A contestant that is no recipe of ours: its name in the figure, its script and arguments."""

    title: str
    script: str
    arguments: tuple[str, ...] = ()
    torch: bool = False


# Epochs, batch and widths of a trial of the record's recipe at the cost of `fast` in 32 bits.
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
    """One run of one contestant: rows of `COLUMNS`, in the order of epochs."""

    contestant: str
    rows: tuple[dict[str, float], ...]

    @property
    def last(self) -> dict[str, float]:
        return self.rows[-1]

    def cost_of(self, level: float) -> float | None:
        """sgemm-TFLOP by the end of the first epoch that reaches an accuracy; None if none does."""
        reached = (row["sgemm_tflop"] for row in self.rows if row["accuracy"] >= level)
        return next(reached, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("contestants", nargs="*", help=f"recipes, {', '.join(PEERS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="instead of each one's own, for a trial")
    parser.add_argument("--source", help="of CIFAR-10; 'sample' for a trial")
    parser.add_argument("--curves", type=Path, default=CURVES, help="where the CSV files are")
    parser.add_argument("--draw", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not arguments.draw:
        if not arguments.contestants:
            parser.error("name contestants, or give --draw")
        with tempfile.TemporaryDirectory() as directory:
            data = Path(directory) / "cifar10.npz"
            _write_arrays(load_cifar10(source=arguments.source), data)
            # By seed first: a machine that gets slower does so for all.
            for seed in arguments.seeds:
                for contestant in arguments.contestants:
                    _run(contestant, seed, data, arguments)
    curves = [read_curve(path) for path in sorted(arguments.curves.glob("*.csv"))]
    if not curves:
        parser.error(f"{arguments.curves} holds no curves yet; name contestants to run")
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
    origin = [*harness.provenance(), f"sgemm {gflops:.1f} GFLOP/s right before"]
    lines = [f"# {line}" for line in origin]
    lines.append(",".join(COLUMNS))
    for row in rows:
        values = row | {"sgemm_tflop": row["seconds"] * gflops / 1000}
        lines.append(",".join(f"{values[name]:.6g}" if name in values else "" for name in COLUMNS))
    write_text(path, "\n".join(lines) + "\n")


def read_curve(path: Path) -> Curve:
    """The curve in a CSV file named CONTESTANT.SEED.csv; lines with a # say where it is from."""
    contestant, _, _ = path.stem.rpartition(".")
    lines = path.read_text(encoding="utf-8").splitlines()
    table = csv.DictReader(line for line in lines if not line.startswith("#"))
    rows = tuple({name: float(text) for name, text in row.items() if text} for row in table)
    return Curve(contestant, rows)


def _by_contestant(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """The curves of each contestant, ours before the peers."""
    names = sorted({curve.contestant for curve in curves}, key=lambda name: (name in PEERS, name))
    return {name: [curve for curve in curves if curve.contestant == name] for name in names}


def _title(contestant: str) -> str:
    return PEERS[contestant].title if contestant in PEERS else contestant


@style()
def draw(curves: Sequence[Curve]) -> Figure:
    """Accuracy over seconds and over sgemm-TFLOP; ours solid, peers dashed, a line for each run."""
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
                    **look(slot),
                )
    for axes, title in zip(panels, ("seconds of training", "sgemm-TFLOP of training"), strict=True):
        axes.set_xscale("log")
        harness.label_plainly(axes.xaxis)
        axes.set_xlabel(title)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid()
    panels[0].set_ylabel("test accuracy")
    handles = [
        Line2D([], [], linestyle="--" if name in PEERS else "-", markersize=3, **look(slot))
        for slot, name in enumerate(grouped)
    ]
    legend(figure, handles, list(grouped))
    return figure


def describe(curves: Sequence[Curve], name: str) -> str:
    """The page of results, of the files in the folder NAME: what was run, and the table."""
    columns = ["contestant", "runs", "epochs", "test accuracy", "with six views", "seconds"]
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
        f"The page is made of the files in `{name}/`, each of which names its own command, "
        "versions, machine, date and commit.",
        "Mean ± standard deviation over the runs, which differ in their seed; one run says little. "
        'In the columns "to …" the sgemm-TFLOP by the end of the first epoch that reaches an '
        "accuracy without test-time views; a dash where not every run does. Everyone trains on all "
        "50,000 training images. The test images are read after every epoch for the curve alone, "
        "off the clock: recipes were fixed before, on a validation split.",
        harness.markdown_table(columns, rows),
        f"![Test accuracy over time]({name}.svg)",
    )


def _cell(runs: Sequence[Curve], figure: Callable[[Curve], float | None], digits: int) -> str:
    values = [figure(run) for run in runs]
    known = [value for value in values if value is not None]
    return harness.mean_and_deviation(known, digits) if len(known) == len(values) else "–"


if __name__ == "__main__":
    main()
