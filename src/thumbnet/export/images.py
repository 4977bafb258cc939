"""The images for calibrating an export and comparing it with Keras."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from thumbnet.data.dataset import Dataset, Int64Array, LabelledImages, UInt8Array
from thumbnet.data.images import fit_image
from thumbnet.errors import InputError
from thumbnet.runs.run import Run

COMPARED = 5_000
CALIBRATED = 300


@dataclass(frozen=True, eq=False)
class ExportImages:
    """Real images, none of them the run's test images.

    Attributes:
        compared: images on which predictions are compared.
        words: a description of these images.
        labelled: whether their labels are classes of the run.
        calibration: uint8 array (n, height, width, channels) of training images that are not in
            `compared`; None if the dataset of the run is not available.
    """

    compared: LabelledImages
    words: str
    labelled: bool
    calibration: UInt8Array | None


def choose_images(
    run: Run, dataset: Dataset | None, image_shape: tuple[int, int, int]
) -> ExportImages:
    """Choose the run's validation images, or else training images, or else the bundled sample.

    Args:
        run: a finished run.
        dataset: the dataset of the run, if it is available.
        image_shape: height, width and channels of the model's input.

    Raises:
        InputError: the run was trained on other images.
    """
    if dataset is None:
        return _of_the_sample(image_shape)
    if dataset.digests != run.environment().data.digests:
        raise InputError(
            f"{run.path} was not trained on the images of {dataset.source}; omit --data and "
            "--source, or give the dataset of the run"
        )
    generator = np.random.default_rng(0)
    held_out = run.validation_predictions()
    left = generator.permutation(len(dataset.train))
    if held_out is None:
        taken, left = left[:COMPARED], left[COMPARED:] if len(left) > COMPARED else left
        part, words = dataset.train.take(np.sort(taken)), "training images"
    elif dataset.validation is not None:
        part, words = dataset.validation.take(np.sort(held_out.ids[:COMPARED])), "validation images"
    else:
        part, words = dataset.train.take(np.sort(held_out.ids[:COMPARED])), "validation images"
        left = left[~np.isin(left, held_out.ids)]
    return ExportImages(part, words, labelled=True, calibration=_calibration(dataset, left))


def _calibration(dataset: Dataset, positions: Int64Array) -> UInt8Array:
    return np.asarray(dataset.train.take(np.sort(positions[:CALIBRATED])).images)


def _of_the_sample(image_shape: tuple[int, int, int]) -> ExportImages:
    from thumbnet.data.sources.locate import load_cifar10

    sample = load_cifar10(source="sample").train.take(range(1_000))
    fitted = [fit_image(Image.fromarray(image), image_shape) for image in sample.images]
    images = LabelledImages(np.stack(fitted), sample.labels)
    return ExportImages(images, "images of the bundled sample", labelled=False, calibration=None)
