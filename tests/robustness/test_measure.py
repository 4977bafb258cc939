import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from thumbnet.data.dataset import Dataset
from thumbnet.data.stored import StoredImages
from thumbnet.robustness.corruptions import corrupt
from thumbnet.robustness.measure import measure_robustness
from thumbnet.runs.run import Run


def test_images_on_disk_are_measured_like_images_in_memory(
    finished_run: Run, small: Dataset, tmp_path: Path
) -> None:
    shutil.copytree(finished_run.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    test = small.test
    rows = np.arange(len(test))
    in_file = replace(test, images=StoredImages(np.asarray(test.images), rows))
    found = [measure_robustness(run, part, print, images=6) for part in (test, in_file)]
    assert found[0] == found[1]


def test_noise_does_not_depend_on_the_batch_size(small: Dataset) -> None:
    images = np.asarray(small.test.images[:5])
    whole = corrupt(images, "gaussian_noise", 3)
    parts = [corrupt(images[start : start + 2], "gaussian_noise", 3, 0, start) for start in (0, 2)]
    np.testing.assert_array_equal(whole[:4], np.concatenate(parts))
