"""What training would take on up to 256 GPUs, worked out from a few assumptions; nothing is run.

    .venv/bin/python benchmarks/scaling_model.py strong best

docs/scaling.md explains the model. The parameters and the arithmetic are counted of the recipe's
own network; everything in `Hardware` is an assumption.
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
STRONG = "The recipe's batch shared (strong scaling)"
WEAK = "As many images for each GPU as the recipe's batch has (weak scaling)"


@dataclass(frozen=True)
class Hardware:
    """What is assumed of the machines.

    Attributes:
        flops: floating-point operations a second that a GPU sustains in these convolutions.
        near, far: bytes a second of the slowest link of a ring, within a host and between hosts.
        near_latency, far_latency: seconds of one hop.
        host_gpus: GPUs in a host.
        step_floor: seconds below which no step comes, for launching what it is made of.
        input_rate: images a second that a process augments, beside the step before.
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
    """What a recipe's network asks for.

    Attributes:
        parameters: that are trained.
        flop: of training on one image.
        small_sums: sums over all GPUs in a step beside that of the gradients: two a batch
            normalisation forward and two backward, and one to agree on going on.
    """

    name: str
    parameters: int
    flop: int
    small_sums: int


@dataclass(frozen=True)
class Step:
    """Seconds of the parts of one step."""

    compute: float
    gradients: float
    small_sums: float
    input: float

    @property
    def seconds(self) -> float:
        """The batch is made beside the step before; nothing else is taken to overlap."""
        return max(self.compute + self.gradients + self.small_sums, self.input)


def step(network: Network, batch: int, gpus: int, hardware: Hardware) -> Step:
    """One step on a batch that so many GPUs share, in whole images."""
    within = gpus <= hardware.host_gpus
    bandwidth = hardware.near if within else hardware.far
    latency = hardware.near_latency if within else hardware.far_latency
    # A tree up and down: what NCCL takes for small messages, and the latency of the large one.
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
    """A row a number of GPUs; the batch is that of all GPUs, or with `weak` that of each."""
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
            f"{network.flop / 1e9:.2f} GFLOP an image, {network.small_sums} small sums a step"
        )
        for weak in (False, True):
            print(f"\n{WEAK if weak else STRONG}:\n")
            print(table(network, batch, hardware, weak=weak))


if __name__ == "__main__":
    main()
