"""The result of a search in a given time, and the speedup from a second worker.

    .venv/bin/python benchmarks/tuning.py --budget 30m --seeds 0 1 2
    .venv/bin/python benchmarks/tuning.py --workers 10m

The first command searches from `poor.toml` with the default search space. No trial may take more
FLOP than training `cnn`. Then `poor`, `cnn` and the best recipe found are trained with every seed,
and each run is evaluated once on the test images. The search is kept in `--keep`, so that the
benchmark can be stopped and resumed.

The second command runs trials of a small recipe on the bundled sample, first with one worker, then
with two, each pinned to its own core, for the same time, and compares the number of trials.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import harness

from thumbnet import Dataset, Recipe, load_cifar10, resume, train
from thumbnet.atomic import write_text
from thumbnet.cli.options import parse_duration
from thumbnet.record import read_record
from thumbnet.runs.records import Metrics
from thumbnet.runs.run import Run
from thumbnet.training.cost import planned_flop
from thumbnet.tuning.findings import FindingsRecord
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
    parser.add_argument("--budget", default="30m", help="time budget of the search")
    parser.add_argument("--screen", type=float, default=0.2, help="as in `thumbnet tune`")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--source", help="source of CIFAR-10; 'sample' for a quick try")
    parser.add_argument("--keep", type=Path, default=Path("runs/bench/tuning"))
    parser.add_argument("--workers", metavar="TIME", help="compare one and two workers, TIME each")
    parser.add_argument("--rounds", type=int, default=2, help="repetitions of that comparison")
    parser.add_argument("--out", type=Path, help="results page to write")
    arguments = parser.parse_args()
    if arguments.workers:
        seconds = parse_duration(arguments.workers)
        # Alternate, so that a slowdown of the machine affects both.
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
    findings = read_record(found.parent / "findings.json", FindingsRecord)
    page = describe_search(runs, findings, found.read_text(encoding="utf-8"))
    write_text(arguments.out or harness.RESULTS / "tuning.md", page)


def find_recipe(dataset: Dataset, arguments: argparse.Namespace) -> Path:
    """Start a search from the poor recipe, or resume it; returns the path of the best recipe.

    Raises:
        subprocess.CalledProcessError: the search failed.
    """
    directory: Path = arguments.keep / "search"
    if (directory / "tuning.json").is_file():
        command = ["--resume", str(directory)]
    else:
        limit = planned_flop(Recipe.read("cnn"), dataset)
        # Rounded up, so that a trial with exactly the FLOP of `cnn` is within the limit.
        ratio = limit / planned_flop(Recipe.read(POOR), dataset) + 1e-6
        command = [str(POOR), "--out", str(directory), "--budget", arguments.budget]
        command += ["--screen", str(arguments.screen), "--max-cost", f"{ratio:.6f}"]
    source = ["--source", arguments.source] if arguments.source else []
    subprocess.run([sys.executable, "-m", "thumbnet", "tune", *command, *source], check=True)
    return directory / "best.toml"


def _finished(recipe: Recipe, dataset: Dataset, path: Path) -> Metrics:
    run = train(recipe, dataset, path) if Run.is_free(path) else resume(path, dataset)
    return run.metrics()


def describe_search(runs: dict[str, list[Metrics]], findings: FindingsRecord, recipe: str) -> str:
    """The results page: a summary of the search, and the metrics of the three recipes.

    Args:
        runs: for each recipe, the `metrics.json` of each seed.
        findings: the search's `findings.json`.
        recipe: text of the best recipe found.
    """
    columns = ["recipe", "seeds", "validation accuracy", "test accuracy", "training TFLOP"]
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
            values = [getattr(metrics, key) / scale for metrics in all_metrics]
            cells.append(harness.mean_and_std(values, digits))
        rows.append(cells)
    counts = ", ".join(f"{count} {state}" for state, count in findings.trials.items())
    gain = _mean(runs["found"], "accuracy") - _mean(runs["cnn"], "accuracy")
    verdict = "beats" if gain > 0 else "falls short of"
    return harness.document(
        "Results of a search",
        f"A search of {findings.seconds:.0f} s from `benchmarks/poor.toml` "
        f"(trials: {counts}). No trial was allowed more FLOP than `cnn` takes. The best recipe "
        f"found {verdict} `cnn` by {100 * abs(gain):.1f} points of test accuracy. Mean ± standard "
        "deviation over the seeds. The search used only the validation split of seed 0, so the "
        "validation accuracy of the found recipe with that seed is optimistic.",
        harness.markdown_table(columns, rows),
        f"The best recipe found:\n\n```toml\n{recipe.strip()}\n```",
    )


def _mean(all_metrics: Sequence[Metrics], key: str) -> float:
    return float(sum(getattr(metrics, key) for metrics in all_metrics)) / len(all_metrics)


def count_trials(cores: Sequence[int], seconds: float) -> int:
    """Number of trials that workers on these cores finish in the given time, on one study.

    The clock starts once every worker has finished a trial, so that imports and loading do not
    count. With two objectives there is no pruning, and nothing in the search space changes the cost
    of a trial, so all take the same time.
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
            raise SystemExit("a worker exited early")
        time.sleep(0.2)


def _ended(tuning: Tuning, since: float) -> list[str]:
    """The worker of each trial that finished since a time."""
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
    """The results page: finished trials of one worker and of two in each round, and the ratio."""
    rows = [[str(one), str(two), f"{two / one:.2f}"] for one, two in rounds]
    one, two = (sum(counts) for counts in zip(*rounds, strict=True))
    return harness.document(
        "Two workers on one study",
        f"Trials finished in {seconds:.0f} s on the bundled sample, by one worker pinned to a core "
        f"and by two workers with a core each: {two / one:.2f} times as many with two.",
        harness.markdown_table(["one worker", "two workers", "ratio"], rows),
    )


if __name__ == "__main__":
    main()
