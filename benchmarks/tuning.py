"""What a search finds in a given time, and what a second worker adds to it.

    .venv/bin/python benchmarks/tuning.py --budget 30m --seeds 0 1 2
    .venv/bin/python benchmarks/tuning.py --workers 10m

The first searches from `poor.toml` with the space that ships with Thumbnet. No trial may take more
arithmetic than training `cnn`. Then `poor`, `cnn` and what was found are trained with every
seed, and the test images are read once after each. The search is kept in `--keep`, so that a
benchmark that was stopped goes on where it was.

The second lets one worker, then two, each pinned to a core of its own, try trials of a small
recipe for the same time on the bundled sample, and compares how many trials they have trained.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import harness

from thumbnet import Dataset, Recipe, load_cifar10, resume, train
from thumbnet.atomic import write_text
from thumbnet.cli.options import parse_duration
from thumbnet.runs.run import Run
from thumbnet.training.cost import planned_flop
from thumbnet.tuning.study import Tuning

POOR = harness.HERE / "poor.toml"
SMALL = {"name": "small", "epochs": 4, "batch_size": 250, "model.widths": [16, 32, 64]}
SMALL_SPACE = """
"optimizer.learning_rate" = { low = 0.03, high = 0.5, log = true }
"optimizer.momentum" = { low = 0.4, high = 0.9 }
"loss.label_smoothing" = { low = 0.0, high = 0.3 }
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--budget", default="30m", help="of the search")
    parser.add_argument("--screen", type=float, default=0.2, help="as of `thumbnet tune`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--source", help="of CIFAR-10; 'sample' for a trial")
    parser.add_argument("--keep", type=Path, default=Path("runs/bench/tuning"))
    parser.add_argument("--workers", metavar="TIME", help="compare one and two for so long each")
    parser.add_argument("--rounds", type=int, default=2, help="of that comparison")
    parser.add_argument("--out", type=Path, help="the page to write")
    arguments = parser.parse_args()
    if arguments.workers:
        seconds = parse_duration(arguments.workers)
        # In turns: a machine that gets slower does so for both.
        rounds = [
            (count_trials([0], seconds), count_trials([0, 1], seconds))
            for _ in range(arguments.rounds)
        ]
        page = describe_workers(rounds, seconds)
        write_text(arguments.out or harness.RESULTS / "tuning_workers.md", page)
        return
    dataset = load_cifar10(source=arguments.source)
    found = find_recipe(dataset, arguments)
    recipes = {"poor": Recipe.read(POOR), "cnn": Recipe.read("cnn"), "found": Recipe.read(found)}
    runs = {
        name: [
            _finished(recipe.override({"seed": seed}), dataset, arguments.keep / f"{name}-{seed}")
            for seed in arguments.seeds
        ]
        for name, recipe in recipes.items()
    }
    findings = json.loads((found.parent / "findings.json").read_text(encoding="utf-8"))
    page = describe_search(runs, findings, found.read_text(encoding="utf-8"))
    write_text(arguments.out or harness.RESULTS / "tuning.md", page)


def find_recipe(dataset: Dataset, arguments: argparse.Namespace) -> Path:
    """Search from the poor recipe, or go on with a search; the best recipe that was found.

    Raises:
        subprocess.CalledProcessError: the search failed.
    """
    directory: Path = arguments.keep / "search"
    if (directory / "tuning.json").is_file():
        command = ["--resume", str(directory)]
    else:
        limit = planned_flop(Recipe.read("cnn"), dataset)
        # Rounded up, so that a trial with exactly the arithmetic of `cnn` is within it.
        ratio = limit / planned_flop(Recipe.read(POOR), dataset) + 1e-6
        command = [str(POOR), "--out", str(directory), "--budget", arguments.budget]
        command += ["--screen", str(arguments.screen), "--max-cost", f"{ratio:.6f}"]
    source = ["--source", arguments.source] if arguments.source else []
    subprocess.run([sys.executable, "-m", "thumbnet", "tune", *command, *source], check=True)
    return directory / "best.toml"


def _finished(recipe: Recipe, dataset: Dataset, path: Path) -> dict[str, Any]:
    run = train(recipe, dataset, path) if Run.is_free(path) else resume(path, dataset)
    return run.metrics()


def describe_search(
    runs: dict[str, list[dict[str, Any]]], findings: dict[str, Any], recipe: str
) -> str:
    """The page: what the search did, and what the three recipes reach.

    Args:
        runs: for each recipe, its `metrics.json` with each seed.
        findings: the search's `findings.json`.
        recipe: the text of the one that was found.
    """
    columns = ["recipe", "seeds", "validation accuracy", "test accuracy", "TFLOP of training"]
    columns += ["seconds", "sgemm-TFLOP"]
    rows = []
    for name, all_metrics in runs.items():
        cells = [name, str(len(all_metrics))]
        for key, scale, digits in (
            ("validation_accuracy", 1, 4),
            ("accuracy", 1, 4),
            ("train_flops", 1e12, 1),
            ("train_seconds", 1, 0),
            ("sgemm_tflop", 1, 1),
        ):
            values = [metrics[key] / scale for metrics in all_metrics]
            cells.append(harness.mean_and_deviation(values, digits))
        rows.append(cells)
    counts = ", ".join(f"{count} {state}" for state, count in findings["trials"].items())
    gain = _mean(runs["found"], "accuracy") - _mean(runs["cnn"], "accuracy")
    verdict = "beats" if gain > 0 else "falls short of"
    return harness.document(
        "What a search finds",
        f"A search from `benchmarks/poor.toml` of {findings['seconds']:.0f} s "
        f"(trials: {counts}). No trial was allowed more arithmetic than `cnn` takes. What was "
        f"found {verdict} `cnn` by {100 * abs(gain):.1f} points of test accuracy. Mean ± standard "
        "deviation over the seeds; the search itself saw the validation images of seed 0 alone, "
        "so that its own figure is flattered and the others are not.",
        harness.markdown_table(columns, rows),
        f"The recipe that was found:\n\n```toml\n{recipe.strip()}\n```",
    )


def _mean(all_metrics: Sequence[dict[str, Any]], key: str) -> float:
    return float(sum(metrics[key] for metrics in all_metrics)) / len(all_metrics)


def count_trials(cores: Sequence[int], seconds: float) -> int:
    """How many trials a worker on each of these cores trains in so long, all on one study.

    The clock starts once every worker has trained one: importing and loading are over then. With
    two objectives nothing is given up early, and nothing in the space changes what a trial costs:
    all take the same time.
    """
    with tempfile.TemporaryDirectory() as name:
        tuning = Tuning(Path(name) / "search")
        recipe = Path(name) / "small.toml"
        recipe.write_text(Recipe.read("cnn").override(SMALL).to_toml(), encoding="utf-8")
        recipe.with_suffix(".space.toml").write_text(SMALL_SPACE, encoding="utf-8")
        first = [str(recipe), "--out", str(tuning.path), "--objective", "accuracy,cost"]
        workers = [_worker(cores[0], [*first, "--budget", "100h"])]
        try:
            _wait(lambda: _ended(tuning, 0), workers)
            workers += [_worker(core, ["--resume", str(tuning.path)]) for core in cores[1:]]
            _wait(lambda: len(set(_ended(tuning, 0))) == len(cores), workers)
            started = time.time()
            time.sleep(seconds)
            return len(_ended(tuning, started))
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()


def _worker(core: int, command: list[str]) -> "subprocess.Popen[bytes]":
    pinned = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "thumbnet", "tune"]
    return subprocess.Popen(
        [*pinned, *command, "--source", "sample"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _wait(until: Callable[[], object], workers: Sequence["subprocess.Popen[bytes]"]) -> None:
    while not until():
        if any(worker.poll() is not None for worker in workers):
            raise SystemExit("a worker ended before its time")
        time.sleep(0.2)


def _ended(tuning: Tuning, since: float) -> list[str]:
    """The worker of each trial that was finished since a time."""
    if not (tuning.path / "journal.log").is_file():
        return []
    return [
        trial.user_attrs["worker"]
        for trial in tuning.study().get_trials(deepcopy=False)
        if trial.state.name == "COMPLETE"
        and trial.datetime_complete
        and trial.datetime_complete.timestamp() >= since
    ]


def describe_workers(rounds: Sequence[tuple[int, int]], seconds: float) -> str:
    """The page: finished trials of one worker and of two in each round, and their ratio."""
    rows = [[str(one), str(two), f"{two / one:.2f}"] for one, two in rounds]
    one, two = (sum(counts) for counts in zip(*rounds, strict=True))
    return harness.document(
        "Two workers on one study",
        f"Trials finished in {seconds:.0f} s by one worker pinned to a core, and by two on a core "
        f"each, on the bundled sample: {two / one:.2f} times as many.",
        harness.markdown_table(["one worker", "two workers", "ratio"], rows),
    )


if __name__ == "__main__":
    main()
