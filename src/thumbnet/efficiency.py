"""What a model costs: arithmetic, memory, and where that puts it among the known recipes.

Energy is not among it: neither the machine's meters nor an honest factor from seconds to joules
are at hand, so none is printed.
"""

import csv
import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.data.stored import UInt8Array
from thumbnet.engines.contract import PREDICTION_BATCH, Engine

if TYPE_CHECKING:
    import keras

_KNOWN = Path(__file__).parent / "recipes" / "known.csv"
FLOAT_BYTES = 4


@dataclass(frozen=True)
class KnownRecipe:
    """What a shipped recipe reaches on CIFAR-10; see benchmarks/results/recipes.md.

    `ann` and `cnn` were trained on nine tenths of the training images, the others on all.

    Attributes:
        name: of the recipe.
        accuracy: mean over `seeds` of the share of test images that are right.
        seeds: how many runs that is the mean of.
        flop_per_image: of the forward pass, as `count_flop` counts.
    """

    name: str
    accuracy: float
    seeds: int
    flop_per_image: int


def known_recipes() -> list[KnownRecipe]:
    """The shipped recipes whose figures are published with the package."""
    with open(_KNOWN, encoding="utf-8", newline="") as file:
        return [
            KnownRecipe(
                name=row["recipe"],
                accuracy=float(row["accuracy"]),
                seeds=int(row["seeds"]),
                flop_per_image=int(row["flop_per_image"]),
            )
            for row in csv.DictReader(file)
        ]


def measure_model(model: "keras.Model") -> dict[str, Any]:
    """What is counted of a model rather than timed, as flat keys of `metrics.json`."""
    layers = list(_layers(model))
    return {
        "parameters": model.count_params(),
        "flop_per_image": count_flop(model),
        "memory_bytes": FLOAT_BYTES * (model.count_params() + max(map(_values, layers))),
    }


def measure_speed(engine: Engine, images: UInt8Array) -> dict[str, float]:
    """Time answers; the flat keys of `metrics.json` and `exports.json`.

    Returns:
        `images_per_second` in batches of up to 500 images, and `latency_ms` of one image.
    """
    batch, one = images[:PREDICTION_BATCH], images[:1]
    batch_seconds = statistics.median(seconds_of_answers(engine, batch, 5))
    one_seconds = statistics.median(seconds_of_answers(engine, one, 25))
    return {"images_per_second": len(batch) / batch_seconds, "latency_ms": 1000 * one_seconds}


def seconds_of_answers(engine: Engine, images: UInt8Array, times: int) -> list[float]:
    """The seconds that each of so many answers to the same images takes."""
    engine.predict(images)  # the first call of each shape compiles, or allocates
    found = []
    for _ in range(times):
        started = time.perf_counter()
        engine.predict(images)
        found.append(time.perf_counter() - started)
    return found


def count_flop(model: "keras.Model") -> int:
    """Floating point operations of the forward pass of one image.

    Counted are the multiplications and additions of every layer with a kernel (dense and
    convolutional), two for each weight and each place it is applied at. Biases, normalisation,
    activations and pooling are left out.
    """
    return sum(map(_kernel_flop, _layers(model)))


def count_training_flop(model: "keras.Model", image_shape: tuple[int, ...]) -> int:
    """Floating point operations that one image costs in training, at one size.

    Each layer with a kernel counts as in `count_flop`: once for the forward pass, once for the
    gradient of its kernel where that is trained, and once for the gradient of its input where a
    layer before it is trained.

    Args:
        model: as it is trained; its layers in the order of the pass.
        image_shape: height, width and channels.
    """
    import keras

    uncompiled = keras.Model(model.inputs[0], model.outputs[0])
    sized = keras.models.clone_model(uncompiled, keras.Input(image_shape, dtype="uint8"))
    flop, trained_before = 0, False
    for ours, layer in zip(_layers(uncompiled), _layers(sized), strict=True):
        trained = bool(ours.trainable_weights)
        flop += _kernel_flop(layer) * (1 + trained + trained_before)
        trained_before |= trained
    return flop


def _kernel_flop(layer: Any) -> int:
    if getattr(layer, "kernel", None) is None:
        return 0
    flop: int = 2 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])
    return flop


def _layers(model: "keras.Model") -> Any:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer


def _values(layer: Any) -> int:
    """Numbers that go into a layer and come out of it, for one image."""
    inputs = layer.input if isinstance(layer.input, list) else [layer.input]
    return sum(math.prod(tensor.shape[1:]) for tensor in [*inputs, layer.output])
