"""Run by test_backends.py in a separate process: trains, stops, resumes and predicts on JAX.

    python tests/without_tensorflow.py DIRECTORY

TensorFlow can neither be found nor imported here.
"""

import importlib.abc
import importlib.util
import sys
from pathlib import Path
from typing import Any


class _NoTensorFlow(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, _NoTensorFlow())
_find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name == "tensorflow" else _find_spec(name, package)
)

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

from thumbnet.data.sources.locate import load_cifar10  # noqa: E402
from thumbnet.engines.prediction import predict  # noqa: E402
from thumbnet.errors import JobError  # noqa: E402
from thumbnet.recipe import Recipe  # noqa: E402
from thumbnet.training import resume, train  # noqa: E402
from thumbnet.training.progress import SilentDisplay  # noqa: E402


class _Interrupting(SilentDisplay):
    def step(self, step: int, *others: Any) -> None:
        if step == 5:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGINT)


def main(directory: Path) -> None:
    sample = load_cifar10(source="sample")
    recipe = Recipe.check(
        {
            "name": "jax",
            "epochs": 2,
            "batch_size": 500,
            "ghost_batches": 2,
            "validation": 0.2,
            "hard_example_fraction": 0.75,
            "tta_views": 2,
            "model": {"architecture": "cnn", "widths": [4, 8]},
            "optimizer": {"name": "muon", "learning_rate": 0.1, "momentum": 0.6},
            "augmentation": {
                "flip": "alternating",
                "random_crop_padding": 2,
                "progressive_resizing": [0.5, 0.75],
            },
        },
        "test",
    )
    alone = train(recipe, sample, directory / "alone", display=SilentDisplay())
    with pytest.raises(JobError) as stopped:
        train(recipe, sample, directory / "stopped", display=_Interrupting())
    resumed = resume(directory / "stopped", sample, display=SilentDisplay())
    assert np.array_equal(alone.predictions().probabilities, resumed.predictions().probabilities), (
        "the resumed run ended with different weights"
    )
    Image.fromarray(np.asarray(sample.test.images[0])).save(directory / "picture.png")
    (answer,) = predict(resumed, [directory / "picture.png"])
    assert answer.class_name in sample.class_names, answer
    assert "tensorflow" not in sys.modules
    sys.stdout.write(f"{stopped.value}\n{resumed.environment().backend}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
