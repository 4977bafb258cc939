"""The small trained model that ships with the package; `tools/make_model.py` makes it."""

from pathlib import Path

from thumbnet.runs.run import Run


def bundled_run() -> Run:
    """A run that is trained on CIFAR-10 and exported for LiteRT; it holds what serving needs."""
    return Run(Path(__file__).parent / "cifar10")
