"""Predicted training time on up to 256 GPUs, based on a few assumptions; nothing is measured.

    .venv/bin/python benchmarks/scaling_model.py strong best

docs/scaling.md explains the model. Parameters and FLOP are counted on the recipe's network;
everything in `Hardware` is an assumption.
"""

import argparse
import math
from dataclasses import dataclass

import harness

from thumbnet.data.sources.locate import load_cifar10
from thumbnet.models.flops import count_training_flop
from thumbnet.recipe import Recipe
from thumbnet.training.prepare import compiled_model

GPUS = (1, 2, 8, 32, 256)
FLOAT_BYTES = 4
STRONG = "Strong scaling: the recipe's batch is divided among the GPUs"
WEAK = "Weak scaling: each GPU computes a batch of the recipe's size"


@dataclass(frozen=True)
class Hardware:
    """Assumptions about the machines.

    Attributes:
        flops: floating-point operations per second that a GPU sustains in these convolutions.
        near, far: bytes per second of the slowest link of a ring, within a host and between hosts.
        near_latency, far_latency: seconds per hop.
        host_gpus: GPUs per host.
        step_floor: minimum seconds of a step, for kernel launches.
        input_rate: images per second that a process augments during the previous step.
    """

    flops: float = 40e12
    near: float = 300e9
    far: float = 25e9
    near_latency: float = 5e-6
    far_latency: float = 15e-6
    host_gpus: int = 8
    step_floor: float = 3e-3
    input_rate: float = 79_000.0


@dataclass(frozen=True)
class Network:
    """Cost of a recipe's network.

    Attributes:
        parameters: number of trained parameters.
        flop: training FLOP per image.
        small_sums: all-reduces per step other than that of the gradients: two per batch
            normalisation in the forward pass and two in the backward pass, and one to agree on
            whether to continue.
    """

    name: str
    parameters: int
    flop: int
    small_sums: int


@dataclass(frozen=True)
class Step:
    """Seconds of each part of a step."""

    compute: float
    gradients: float
    small_sums: float
    input: float

    @property
    def seconds(self) -> float:
        """Input overlaps with the previous step; nothing else is assumed to overlap."""
        return max(self.compute + self.gradients + self.small_sums, self.input)


def step(network: Network, batch: int, gpus: int, hardware: Hardware) -> Step:
    """One step on a batch that is divided among the GPUs, in whole images."""
    within = gpus <= hardware.host_gpus
    bandwidth = hardware.near if within else hardware.far
    latency = hardware.near_latency if within else hardware.far_latency
    # A tree, up and down: NCCL's algorithm for small messages, and the latency of the large one.
    round_trip = 2 * math.ceil(math.log2(gpus)) * latency
    own = math.ceil(batch / gpus)
    volume = 2 * (gpus - 1) / gpus * FLOAT_BYTES * network.parameters
    return Step(
        compute=max(own * network.flop / hardware.flops, hardware.step_floor),
        gradients=volume / bandwidth + round_trip,
        small_sums=network.small_sums * round_trip,
        input=own / hardware.input_rate,
    )


def count_network(name: str) -> Network:
    recipe = Recipe.read(name)
    sample = load_cifar10(source="sample")
    model = compiled_model(recipe, sample.train, len(sample.class_names))
    normalised = sum("BatchNormalization" in type(layer).__name__ for layer in model.layers)
    return Network(
        name,
        sum(math.prod(variable.shape) for variable in model.trainable_variables),
        count_training_flop(model, sample.image_shape),
        4 * normalised + 1,
    )


def table(network: Network, batch: int, hardware: Hardware, *, weak: bool) -> str:
    """One row per number of GPUs; `batch` is the global batch, or with `weak` that of each GPU."""
    rows = []
    alone = batch / step(network, batch, 1, hardware).seconds
    for gpus in GPUS:
        images = batch * gpus if weak else batch
        found = step(network, images, gpus, hardware)
        rate = images / found.seconds
        parts = (found.compute, found.gradients, found.small_sums, found.input)
        rows.append(
            [
                f"{gpus}",
                f"{images:,}",
                *(f"{part * 1e3:.2f}" for part in (*parts, found.seconds)),
                f"{rate:,.0f}",
                f"{rate / (alone * gpus):.0%}",
            ]
        )
    columns = ["GPUs", "batch", "compute, ms", "gradients, ms", "small sums, ms", "input, ms"]
    return harness.markdown_table([*columns, "step, ms", "images/s", "efficiency"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", help="names of shipped recipes")
    hardware = Hardware()
    for name in parser.parse_args().recipes:
        network, batch = count_network(name), Recipe.read(name).batch_size
        print(
            f"`{name}`: {network.parameters:,} trained parameters, "
            f"{network.flop / 1e9:.2f} GFLOP per image, {network.small_sums} small sums per step"
        )
        for weak in (False, True):
            print(f"\n{WEAK if weak else STRONG}:\n")
            print(table(network, batch, hardware, weak=weak))


if __name__ == "__main__":
    main()
