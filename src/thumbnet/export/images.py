"""The real images that an export is calibrated on and compared with Keras on."""

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
        compared: answers are compared on these.
        words: which images those are.
        labelled: whether their labels are those of the run's classes.
        calibration: uint8 array (n, height, width, channels) of training images, none of which is
            in `compared`; None where the run's own are not at hand.
    """

    compared: LabelledImages
    words: str
    labelled: bool
    calibration: UInt8Array | None


def choose_images(
    run: Run, dataset: Dataset | None, image_shape: tuple[int, int, int]
) -> ExportImages:
    """Take the run's validation images, else training images, else those of the bundled sample.

    Args:
        run: a finished run.
        dataset: what it was made of, if that is at hand.
        image_shape: height, width and channels that its model takes.

    Raises:
        InputError: the run was made of other images.
    """
    if dataset is None:
        return _of_the_sample(image_shape)
    if dataset.digests != run.environment().data.digests:
        raise InputError(
            f"{run.path} was made of other images than those of {dataset.source}; leave --data and "
            "--source out, or name the images of the run"
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
