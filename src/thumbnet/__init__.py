"""Thumbnet: classifiers for small images, from the data to a report and a service.

The public names below are imported on first use, so that `import thumbnet` and `thumbnet --help`
stay fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from thumbnet import runtime as runtime  # first: it sets what TensorFlow reads on import

if TYPE_CHECKING:
    from thumbnet.auto import choose_recipe as choose_recipe
    from thumbnet.classifier import ThumbnetClassifier as ThumbnetClassifier
    from thumbnet.data.dataset import Dataset as Dataset
    from thumbnet.data.dataset import LabelledImages as LabelledImages
    from thumbnet.data.load import load as load
    from thumbnet.data.sources.locate import load_cifar10 as load_cifar10
    from thumbnet.engines import open_engine as open_engine
    from thumbnet.engines.prediction import predict as predict
    from thumbnet.errors import InputError as InputError
    from thumbnet.errors import JobError as JobError
    from thumbnet.errors import ThumbnetError as ThumbnetError
    from thumbnet.evaluation.comparison import compare_pair as compare_pair
    from thumbnet.evaluation.metrics import evaluate as evaluate
    from thumbnet.evaluation.predictions import Predictions as Predictions
    from thumbnet.export import export_run as export_run
    from thumbnet.recipe import Recipe as Recipe
    from thumbnet.registry import register as register
    from thumbnet.report.build import build_report as build_report
    from thumbnet.runs.run import Run as Run
    from thumbnet.training import resume as resume
    from thumbnet.training import train as train

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "data.dataset",
    "InputError": "errors",
    "JobError": "errors",
    "LabelledImages": "data.dataset",
    "Predictions": "evaluation.predictions",
    "Recipe": "recipe",
    "Run": "runs.run",
    "ThumbnetClassifier": "classifier",
    "ThumbnetError": "errors",
    "build_report": "report.build",
    "choose_recipe": "auto",
    "compare_pair": "evaluation.comparison",
    "evaluate": "evaluation.metrics",
    "export_run": "export",
    "load": "data.load",
    "load_cifar10": "data.sources.locate",
    "open_engine": "engines",
    "predict": "engines.prediction",
    "register": "registry",
    "resume": "training",
    "train": "training",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'thumbnet' has no attribute {name!r}")
    return getattr(import_module(f"thumbnet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
