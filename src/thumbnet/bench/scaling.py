"""How much faster two processes train than one, on the same batch of the same machine.

Each process gets cores of its own, so that two of them stand for two machines. What one process
does with both cores is measured as well: on one machine nothing else would be done.
"""

import json
import math
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from thumbnet.data.sources.locate import load_cifar10
from thumbnet.errors import InputError, JobError
from thumbnet.parallel.launch import read_launch
from thumbnet.parallel.processes import join
from thumbnet.recipe import Recipe
from thumbnet.training.batches import Batches
from thumbnet.training.prepare import compiled_model

# The first compiles.
WARM_UP = 2
# Before anything is imported that makes threads: JAX and BLAS make as many as there are cores.
_PROCESS = """
import os, sys
os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
from thumbnet.bench.scaling import time_steps
time_steps(sys.stdin.read(), int(sys.argv[2]))
"""
_REDUCED = re.compile(r" = (.*?) all-reduce(?:-start)?\(")
_SHAPE = re.compile(r"\b[a-z]+(\d+)\[([\d,]*)\]")

Report = Callable[[str], None]


def measure_scaling(recipe: Recipe, steps: int, report: Report) -> list[dict[str, Any]]:
    """Time training steps of one process on one core, of two on a core each, of one on both.

    Args:
        recipe: whose model, optimizer and batch size are taken; all steps on whole images.
        steps: how many are timed, after two that are not.
        report: told what is being timed.

    Returns:
        A row an arrangement: `processes`, `cores` (of each), `images_per_second` by the median
        step, `efficiency` as a share of `processes` · `cores` times the rate of one on one core,
        and of what a step sums over all processes `reduced_bytes`, in so many `reductions`.

    Raises:
        InputError: there are no two cores, or two processes cannot share the batch.
        JobError: a process failed.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise InputError("two processes need two cores, and this one may run on one alone")
    if recipe.batch_size % 2:
        raise InputError(f"two processes cannot share batches of {recipe.batch_size} images evenly")
    plain = {
        "ghost_batches": 1,
        "hard_example_fraction": 1.0,
        "augmentation.progressive_resizing": [1.0],
    }
    text = recipe.override(plain).to_toml()
    rows: list[dict[str, Any]] = []
    for shares in ([cores[:1]], [cores[:1], cores[1:]], [cores]):
        report(f"{recipe.name}: {len(shares)} process(es) on {len(shares[0])} core(s) each")
        found = _time_processes(text, steps, shares)
        rate = recipe.batch_size / found.pop("seconds")
        rows.append({"processes": len(shares), "cores": len(shares[0]), "images_per_second": rate})
        used = len(shares) * len(shares[0])
        rows[-1] |= {"efficiency": rate / (used * rows[0]["images_per_second"]), **found}
    return rows


def _time_processes(recipe: str, steps: int, shares: Sequence[Sequence[int]]) -> dict[str, Any]:
    """What rank 0 found, of as many processes as there are shares of the cores."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    variables = {
        "KERAS_BACKEND": "jax",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(len(shares)),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, ",".join(map(str, cores)), str(steps)],
            env=os.environ | variables | {"JAX_PROCESS_ID": str(rank)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, cores in enumerate(shares)
    ]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(recipe)
            process.stdin.close()
            process.stdin = None
        said = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, error) in zip(processes, said, strict=True):
        if process.returncode:
            last = (error.strip().splitlines() or ["it said nothing"])[-1]
            raise JobError(f"a process that was to train failed: {last}")
    found: dict[str, Any] = json.loads(said[0][0].splitlines()[-1])
    return found


def time_steps(recipe_text: str, steps: int) -> None:
    """Be one of the processes: train as its launch variables say, and print what a step takes."""
    processes = join(read_launch(os.environ))
    recipe = Recipe.parse(recipe_text, "the recipe to time")
    sample = load_cifar10(source="sample")
    model = compiled_model(recipe, sample.train, len(sample.class_names))
    one_hot = np.eye(len(sample.class_names), dtype=np.float32)
    batches = Batches(
        sample.train, recipe.batch_size, recipe.augmentation, recipe.seed, processes=processes
    )
    seconds: list[float] = []
    while len(seconds) < WARM_UP + steps:
        for images, labels in batches.epoch(len(seconds) // batches.steps(0)):
            started = time.perf_counter()
            model.optimizer.learning_rate = processes.replicate(1e-4)
            model.train_on_batch(images, one_hot[labels])
            processes.gather(0.0)  # as training does, to agree on going on
            seconds.append(time.perf_counter() - started)
    found = {"seconds": statistics.median(seconds[WARM_UP : WARM_UP + steps])}
    step = _compiled_step(model, images, one_hot[labels]) if processes.count > 1 else ""
    found |= count_reduced(step)
    processes.leave()
    if processes.rank == 0:
        sys.stdout.write(f"{json.dumps(found)}\n")


def _compiled_step(model: Any, *batch: Any) -> str:
    """What XLA makes of a training step that several processes share, as text."""
    import jax
    import keras

    distribution = keras.distribution.distribution()
    data = tuple(
        jax.make_array_from_process_local_data(
            distribution.get_data_layout(array.shape).backend_layout, array
        )
        for array in batch
    )
    state = tuple(
        [variable.value for variable in variables]
        for variables in (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
    )
    shardings = jax.tree.map(lambda array: array.sharding, state)
    step = jax.jit(model.train_step, out_shardings=(None, shardings))
    text: str = step.lower(state, data).compile().as_text()
    return text


def count_reduced(step: str) -> dict[str, int]:
    """Of a step as XLA tells it: how many sums over all processes, and of how many bytes."""
    sums = _REDUCED.findall(step)
    return {
        "reduced_bytes": sum(
            int(bits) // 8 * math.prod(int(side) for side in sides.split(",") if side)
            for shapes in sums
            for bits, sides in _SHAPE.findall(shapes)
        ),
        "reductions": len(sums),
    }
