"""The small trained model that ships with the package, made by `tools/make_model.py`."""

from pathlib import Path

from thumbnet.runs.run import Run


def bundled_run() -> Run:
    """A run trained on CIFAR-10 and exported to LiteRT; it contains only the files for serving."""
    return Run(Path(__file__).parent / "cifar10")
