"""Scaling of data-parallel training from one process to two, with the same batch on one machine.

Each process is pinned to its own core, so that two of them represent two machines. One process on
both cores is measured, too, since that is the usual setup on a single machine.
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
from typing import Any, TypedDict

import numpy as np

from thumbnet.data.sources.locate import load_cifar10
from thumbnet.errors import InputError, JobError
from thumbnet.parallel.launch import read_launch
from thumbnet.parallel.processes import join
from thumbnet.recipe import Recipe
from thumbnet.training.batches import Batches
from thumbnet.training.prepare import compiled_model

# The first steps compile.
WARM_UP = 2
# Set the affinity before any import: JAX and BLAS start as many threads as there are cores.
_PROCESS = """
import os, sys
os.sched_setaffinity(0, {int(core) for core in sys.argv[1].split(",")})
from thumbnet.bench.scaling import time_steps
time_steps(sys.stdin.read(), int(sys.argv[2]))
"""
_REDUCED = re.compile(r" = (.*?) all-reduce(?:-start)?\(")
_SHAPE = re.compile(r"\b[a-z]+(\d+)\[([\d,]*)\]")

Report = Callable[[str], None]


class ScalingRow(TypedDict):
    """The speed of one configuration.

    Attributes:
        processes: number of processes.
        cores: number of cores per process.
        images_per_second: from the median step.
        efficiency: the rate relative to that of one core times the number of cores in use.
        reduced_bytes, reductions: size and number of the all-reduces of one step.
    """

    processes: int
    cores: int
    images_per_second: float
    efficiency: float
    reduced_bytes: int
    reductions: int


class _StepTime(TypedDict):
    """The result of `time_steps`; `seconds` is the median of a step."""

    seconds: float
    reduced_bytes: int
    reductions: int


def measure_scaling(recipe: Recipe, steps: int, report: Report) -> list[ScalingRow]:
    """Time training steps of one process on one core, two on one core each, and one on both.

    Args:
        recipe: source of the model, optimizer and batch size; images have their full size.
        steps: number of timed steps, after two warm-up steps.
        report: called with a message before each measurement.

    Returns:
        One row per configuration.

    Raises:
        InputError: there are fewer than two cores, or the batch size is odd.
        JobError: a process failed.
    """
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise InputError("this benchmark needs two cores, but this process may use only one")
    if recipe.batch_size % 2:
        raise InputError(
            f"batches of {recipe.batch_size} images cannot be divided evenly between two processes"
        )
    plain = {
        "ghost_batches": 1,
        "hard_example_fraction": 1.0,
        "augmentation.progressive_resizing": [1.0],
    }
    text = recipe.override(plain).to_toml()
    rows: list[ScalingRow] = []
    for pinning in ([cores[:1]], [cores[:1], cores[1:]], [cores]):
        processes, cores_each = len(pinning), len(pinning[0])
        report(f"{recipe.name}: {processes} process(es), {cores_each} core(s) per process")
        found = _time_processes(text, steps, pinning)
        rate = recipe.batch_size / found["seconds"]
        of_one_core = rows[0]["images_per_second"] if rows else rate
        rows.append(
            {
                "processes": processes,
                "cores": cores_each,
                "images_per_second": rate,
                "efficiency": rate / (processes * cores_each * of_one_core),
                "reduced_bytes": found["reduced_bytes"],
                "reductions": found["reductions"],
            }
        )
    return rows


def _time_processes(recipe: str, steps: int, pinning: Sequence[Sequence[int]]) -> _StepTime:
    """Start one process for each list of cores; returns the result of rank 0."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    variables = {
        "KERAS_BACKEND": "jax",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(len(pinning)),
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
        for rank, cores in enumerate(pinning)
    ]
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(recipe)
            process.stdin.close()
            process.stdin = None
        outputs = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, error) in zip(processes, outputs, strict=True):
        if process.returncode:
            last = (error.strip().splitlines() or ["no output"])[-1]
            raise JobError(f"a training process failed: {last}")
    found: _StepTime = json.loads(outputs[0][0].splitlines()[-1])
    return found


def time_steps(recipe_text: str, steps: int) -> None:
    """Train as one of the processes, using its launch variables; print the time of a step."""
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
            processes.gather(0.0)  # as in training, where all agree whether to continue
            seconds.append(time.perf_counter() - started)
    found = {"seconds": statistics.median(seconds[WARM_UP : WARM_UP + steps])}
    step = _compiled_step(model, images, one_hot[labels]) if processes.count > 1 else ""
    found |= count_reduced(step)
    processes.leave()
    if processes.rank == 0:
        sys.stdout.write(f"{json.dumps(found)}\n")


def _compiled_step(model: Any, *batch: Any) -> str:
    """The compiled XLA program of a distributed training step, as text."""
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
    """Number of all-reduces in the XLA program of a step, and the bytes that they reduce."""
    sums = _REDUCED.findall(step)
    return {
        "reduced_bytes": sum(
            int(bits) // 8 * math.prod(int(side) for side in sides.split(",") if side)
            for shapes in sums
            for bits, sides in _SHAPE.findall(shapes)
        ),
        "reductions": len(sums),
    }
