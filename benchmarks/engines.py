"""Training speed of the same network in several engines: images/s, and fraction of the sgemm rate.

    .venv/bin/python benchmarks/engines.py
    .venv/bin/python benchmarks/engines.py --steps 3 --widths 32,64,128

Each engine runs in a separate process and repeats a step on the same 512 images; the result is the
median, after two steps that compile. The network is that of the recipe `cnn`: whitening stem,
blocks of two convolutions, SiLU, Muon. FLOP are counted by `count_training_flop`, and are the same
for all engines.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import harness
import numpy as np

from thumbnet.atomic import write_text
from thumbnet.machine import sgemm_gflops
from thumbnet.runtime import computes_in

WIDTHS = ("64,256,256", "32,96,128", "32,64,128")


@dataclass(frozen=True)
class KerasEngine:
    """Keras on a backend, with oneDNN enabled as in Thumbnet, or left to TensorFlow's default."""

    backend: str = "tensorflow"
    onednn: bool = True
    jit_compile: bool = False
    precision: str = "float32"


ENGINES = {
    "Keras, TensorFlow with oneDNN (Thumbnet)": KerasEngine(),
    "Keras, TensorFlow as installed": KerasEngine(onednn=False),
    "Keras, TensorFlow with oneDNN, jit_compile": KerasEngine(jit_compile=True),
    "Keras, JAX": KerasEngine(backend="jax"),
    "Keras, TensorFlow with oneDNN, 16 bits (Thumbnet)": KerasEngine(precision="mixed_bfloat16"),
}
TORCH = {
    "PyTorch, channels last": ("--layout", "last"),
    "PyTorch, channels first": ("--layout", "first"),
    "PyTorch, channels last, 16 bits": ("--layout", "last", "--precision", "bfloat16"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", nargs="+", default=WIDTHS, help="such as 64,256,256")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--out", type=Path, default=harness.RESULTS / "engines.md")
    parser.add_argument("--measure", choices=list(ENGINES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        widths = _numbers(arguments.widths[0])
        found = _measure(ENGINES[arguments.measure], widths, arguments.batch, arguments.steps)
        print(json.dumps(found), flush=True)
        return
    columns = ["engine", "images/s", "GFLOP/s", "of sgemm"]
    tables: list[str] = []
    for widths in arguments.widths:
        rows = _compare(widths, arguments.batch, arguments.steps)
        tables += [f"## Widths {widths}", harness.markdown_table(columns, rows)]
    text = harness.document(
        "Training steps by engine",
        f"The median of {arguments.steps} steps on {arguments.batch} images of 32×32 pixels. Each "
        "engine runs in a separate process; the sgemm rate is measured right before each.",
        *tables,
    )
    write_text(arguments.out, text)
    print(text)


def _compare(widths: str, batch: int, steps: int) -> list[list[str]]:
    rows: list[list[str]] = []
    flop = 0.0
    options = ["--widths", widths, "--batch", str(batch), "--steps", str(steps)]
    for name, engine in ENGINES.items():
        if find_spec(engine.backend) is None:
            print(f"{name}: not installed, skipped", file=sys.stderr)
            continue
        if not computes_in(engine.precision):
            print(f"{name}: not supported by this CPU, skipped", file=sys.stderr)
            continue
        gflops = sgemm_gflops()
        [found] = harness.run_script(
            Path(__file__),
            "--measure",
            name,
            *options,
            environment={"KERAS_BACKEND": engine.backend},
        )
        flop = found["flop_per_image"]
        rows.append(_row(name, batch / found["seconds"], flop, gflops))
    if (harness.TORCH / "torch").is_dir():
        for name, options_of_it in TORCH.items():
            if "bfloat16" in options_of_it and not computes_in("mixed_bfloat16"):
                continue
            gflops = sgemm_gflops()
            seconds = _torch_seconds(options_of_it, widths, batch, steps)
            rows.append(_row(name, batch / seconds, flop, gflops))
    else:
        print("PyTorch: not installed, skipped; see benchmarks/README.md", file=sys.stderr)
    return rows


def _row(name: str, rate: float, flop: float, ceiling: float) -> list[str]:
    gflops = rate * flop / 1e9
    return [name, f"{rate:,.0f}", f"{gflops:.0f}", f"{gflops / ceiling:.0%}"]


def _measure(
    engine: KerasEngine, widths: tuple[int, ...], batch: int, steps: int
) -> dict[str, Any]:
    """Time steps. Call this in a process that has not imported TensorFlow yet."""
    if not engine.onednn:
        # Thumbnet has set the variable; without it, TensorFlow chooses when it is imported.
        os.environ.pop("TF_ENABLE_ONEDNN_OPTS")
    from steps import Stepper, constant_step, images_of, plain_recipe

    from thumbnet.models.flops import count_training_flop

    images = images_of(batch)
    recipe = plain_recipe(widths, batch).override({"precision": engine.precision})
    stepper = Stepper(recipe, images)
    if engine.jit_compile:
        stepper.model.jit_compile = True
    seconds = harness.median_seconds(constant_step(stepper, images), steps)
    flop = count_training_flop(stepper.model, images.images.shape[1:])
    return {"seconds": seconds, "flop_per_image": flop}


def _torch_seconds(own: tuple[str, ...], widths: str, batch: int, steps: int) -> float:
    from steps import images_of

    images = images_of(max(batch, 1_000))
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory) / "images.npz"
        arrays = {
            f"{part}_{kind}": array
            for part in ("train", "test")
            for kind, array in (("images", images.images), ("labels", images.labels))
        }
        np.savez(data, **arrays)  # type: ignore[arg-type]
        numbers = map(str, _numbers(widths))
        options = ["--batch", str(batch), *own, "--time-steps", str(steps)]
        [found] = harness.run_script(
            harness.PEERS / "pytorch_record.py",
            str(data),
            *options,
            "--activation",
            "silu",
            "--widths",
            *numbers,
            environment=harness.with_torch(),
        )
    seconds: float = found["seconds"]
    return seconds


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    main()
