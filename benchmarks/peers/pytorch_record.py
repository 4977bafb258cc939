"""The speed record's recipe as a PyTorch training loop, for comparison with Thumbnet's recipes.

    .venv/bin/python -m pip install --target benchmarks/.torch torch==2.13.0
    PYTHONPATH=benchmarks/.torch .venv/bin/python benchmarks/peers/pytorch_record.py CIFAR10.npz

PyTorch is only used for comparison; its CPU build is enough. This is a new implementation of the
method in Jordan 2024 (arXiv 2404.00498) and the record with Muon: whitening, three blocks, GELU,
Muon on the kernels, Nesterov SGD on the biases and the head, label smoothing, alternating flip,
random translation by up to two pixels. It runs eagerly, since `torch.compile` needs a C++ compiler.

Prints one JSON object per epoch: `epoch`, `seconds` of training so far, `accuracy` on the test
images, and after the last epoch `accuracy_tta` over six views. The test images are read for the
curve only, outside the measured time. With `--time-steps`, prints the seconds of a step instead.
"""

import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

WHITENING_IMAGES = 5_000
WHITENING_BIAS_EPOCHS = 3
LABEL_SMOOTHING = 0.2
SHIFT = 2
MUON_RATE, MUON_MOMENTUM, MUON_ROUNDS = 0.24, 0.6, 3
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
BIAS_RATE, HEAD_RATE, SGD_MOMENTUM = 0.053, 0.67, 0.85
DECAY_BY_IMAGE = 2e-6  # weight decay of biases and head, times the batch size
EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Part:
    """Standardised float32 images (n, height, width, channels) and int64 labels (n,)."""

    images: Any
    labels: Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="arrays train_images, train_labels, test_images, test_labels")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2_000)
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 256])
    parser.add_argument("--activation", choices=["gelu", "relu", "silu"], default="gelu")
    parser.add_argument("--layout", choices=["last", "first"], default="last")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-steps", type=int)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    train, test = read(arguments.data)
    activation = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU}[arguments.activation]
    network = build(arguments.widths, activation, train.images[:WHITENING_IMAGES])
    if arguments.layout == "last":
        network = network.to(memory_format=torch.channels_last)
    trainer = Trainer(network, arguments.batch, arguments.layout, arguments.precision)
    if arguments.time_steps:
        seconds = time_steps(trainer, train, arguments.time_steps)
        print(json.dumps({"seconds": seconds}), flush=True)
        return
    fit(trainer, train, test, arguments.epochs)


def read(path: str) -> tuple[Part, Part]:
    """Training and test set, both standardised with the channel statistics of the training set."""
    with np.load(path, allow_pickle=False) as data:
        pixels = {name: torch.from_numpy(data[f"{name}_images"]) for name in ("train", "test")}
        labels = {name: torch.from_numpy(data[f"{name}_labels"]) for name in ("train", "test")}
    floats = {name: images.float() / 255 for name, images in pixels.items()}
    mean = floats["train"].mean(dim=(0, 1, 2))
    std = floats["train"].std(dim=(0, 1, 2))
    train, test = (
        Part((floats[name] - mean) / std, labels[name].long()) for name in ("train", "test")
    )
    return train, test


def build(widths: list[int], activation: Any, whitening_images: Any) -> Any:
    """The record's network, from images (n, channels, 32, 32) to unscaled logits."""
    stem = whitening(whitening_images)
    layers: list[Any] = [stem, activation()]
    channels = stem.out_channels
    for width in widths:
        layers += [_convolution(channels, width), nn.MaxPool2d(2), _norm(width), activation()]
        layers += [_convolution(width, width), _norm(width), activation()]
        channels = width
    head = nn.Linear(channels, 10, bias=False)
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)


def whitening(images: Any) -> Any:
    """A fixed 2×2 whitening convolution, with the negatives of its filters; its bias is trained."""
    patches = images.unfold(1, 2, 1).unfold(2, 2, 1)  # (n, height, width, channels, 2, 2)
    vectors = patches.reshape(-1, 2 * 2 * images.shape[-1])
    variances, directions = torch.linalg.eigh(vectors.T @ vectors / len(vectors))
    filters = (directions / torch.sqrt(variances + 5e-4)).T.reshape(-1, images.shape[-1], 2, 2)
    stem = nn.Conv2d(images.shape[-1], 2 * len(filters), 2)
    stem.weight.data = torch.cat([filters, -filters])
    stem.weight.requires_grad_(False)
    nn.init.zeros_(stem.bias)
    return stem


def _convolution(inputs: int, outputs: int) -> Any:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.dirac_(layer.weight.data[:inputs])
    return layer


def _norm(channels: int) -> Any:
    layer = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
    layer.weight.requires_grad_(False)
    return layer


class Trainer:
    """A network, its optimizers and the step that uses them."""

    def __init__(self, network: Any, batch: int, layout: str, precision: str) -> None:
        self.network, self.batch, self.layout, self.precision = network, batch, layout, precision
        stem, head = network[0], network[-1]
        self.stem_bias = stem.bias
        self.kernels = [
            layer.weight for layer in network if isinstance(layer, nn.Conv2d) and layer is not stem
        ]
        self.momenta = [torch.zeros_like(kernel) for kernel in self.kernels]
        norm_biases = [layer.bias for layer in network if isinstance(layer, nn.BatchNorm2d)]
        decay = DECAY_BY_IMAGE * batch
        self.rates = (BIAS_RATE, BIAS_RATE, HEAD_RATE)
        self.sgd = torch.optim.SGD(
            [
                {"params": parameters, "lr": rate, "weight_decay": decay / rate}
                for parameters, rate in zip(
                    ([stem.bias], norm_biases, [head.weight]), self.rates, strict=True
                )
            ],
            momentum=SGD_MOMENTUM,
            nesterov=True,
        )

    def logits(self, images: Any) -> Any:
        """Scaled logits of images (n, height, width, channels)."""
        images = images.permute(0, 3, 1, 2)
        if self.layout == "first":
            images = images.contiguous()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits = self.network(images)
        return logits.float() / self.network[-1].in_features

    def step(self, images: Any, labels: Any, lr_multiplier: float) -> None:
        """One step of both optimizers, with their peak learning rates times a multiplier."""
        loss = F.cross_entropy(
            self.logits(images), labels, label_smoothing=LABEL_SMOOTHING, reduction="sum"
        )
        loss.backward()
        for group, rate in zip(self.sgd.param_groups, self.rates, strict=True):
            group["lr"] = rate * lr_multiplier
        self.sgd.step()
        with torch.no_grad():
            for kernel, momentum in zip(self.kernels, self.momenta, strict=True):
                _muon_step(kernel, momentum, MUON_RATE * lr_multiplier)
        self.network.zero_grad(set_to_none=True)


def _muon_step(kernel: Any, momentum: Any, rate: float) -> None:
    momentum.mul_(MUON_MOMENTUM).add_(kernel.grad)
    nesterov = kernel.grad + MUON_MOMENTUM * momentum
    kernel.mul_(math.sqrt(len(kernel)) / kernel.norm())
    update = orthogonalise(nesterov.reshape(len(kernel), -1)).reshape(kernel.shape)
    kernel.add_(update, alpha=-rate)


def orthogonalise(matrix: Any) -> Any:
    """Orthogonalise a matrix approximately, by Newton–Schulz iterations."""
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(MUON_ROUNDS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


def fit(trainer: Trainer, train: Part, test: Part, epochs: int) -> None:
    """Train, and print one line per epoch."""
    seconds, started = 0.0, time.perf_counter()
    frames = F.pad(train.images.permute(0, 3, 1, 2), (SHIFT,) * 4, mode="reflect")
    frames = frames.permute(0, 2, 3, 1).contiguous()
    flipped_at_first = torch.rand(len(train.images)) < 0.5
    steps = len(train.images) // trainer.batch
    for epoch in range(epochs):
        trainer.network.train()
        trainer.stem_bias.requires_grad_(epoch < WHITENING_BIAS_EPOCHS)
        order = torch.randperm(len(train.images))
        for step in range(steps):
            chosen = order[step * trainer.batch : (step + 1) * trainer.batch]
            images = augment(frames, chosen, flipped_at_first[chosen] ^ bool(epoch % 2))
            lr_multiplier = 1 - (epoch * steps + step) / (epochs * steps)
            trainer.step(images, train.labels[chosen], lr_multiplier)
        seconds += time.perf_counter() - started
        row = {"epoch": epoch + 1, "seconds": seconds, "accuracy": accuracy(trainer, test, 1)}
        if epoch + 1 == epochs:
            row["accuracy_tta"] = accuracy(trainer, test, 6)
        print(json.dumps(row), flush=True)
        started = time.perf_counter()


def augment(frames: Any, chosen: Any, flipped: Any) -> Any:
    """Random crops of the chosen padded images, flipped horizontally where `flipped`."""
    size = frames.shape[1] - 2 * SHIFT
    top, left = torch.randint(0, 2 * SHIFT + 1, (2, len(chosen), 1))
    rows, columns = top + torch.arange(size), left + torch.arange(size)
    images = frames[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
    images[flipped] = images[flipped].flip(2)
    return images


def accuracy(trainer: Trainer, test: Part, views: int) -> float:
    """Test accuracy with one view or six."""
    trainer.network.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in zip(
            test.images.split(EVALUATION_BATCH), test.labels.split(EVALUATION_BATCH), strict=True
        ):
            total = sum(weight * trainer.logits(view) for weight, view in _views(images, views))
            correct += int((total.argmax(dim=1) == labels).sum())
    return correct / len(test.labels)


def _views(images: Any, views: int) -> list[tuple[float, Any]]:
    """Each view of images (n, height, width, channels) with its weight."""
    if views == 1:
        return [(1.0, images)]
    framed = F.pad(images.permute(0, 3, 1, 2), (1,) * 4, mode="reflect").permute(0, 2, 3, 1)
    upright = [(0.25, images), (0.125, framed[:, :-2, :-2]), (0.125, framed[:, 2:, 2:])]
    return upright + [(weight, view.flip(2)) for weight, view in upright]


def time_steps(trainer: Trainer, train: Part, times: int) -> float:
    """The median seconds of a step on one batch, after two for warming up."""
    images, labels = train.images[: trainer.batch], train.labels[: trainer.batch]
    trainer.network.train()
    found = []
    for _ in range(times + 2):
        started = time.perf_counter()
        trainer.step(images, labels, 0.1)
        found.append(time.perf_counter() - started)
    return statistics.median(found[2:])


if __name__ == "__main__":
    main()
