"""The learning curve of a run: its accuracy against the number of training images.

The network is trained again on a fraction of the training images, with the same number of optimizer
steps and judged on the same validation images. Error falls roughly as a power of the number of
images (Hestness et al. 2017, arXiv 1712.00409), which gives what more images would bring.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError
from thumbnet.evaluation.intervals import Float64Array
from thumbnet.evaluation.metrics import evaluate
from thumbnet.evaluation.predictions import Predictions
from thumbnet.figures import add_title, save_figure
from thumbnet.figures.style import label
from thumbnet.figures.trust import accuracy_by_images_chart
from thumbnet.record import write_record
from thumbnet.runs.records import CurvePoint, LearningCurve, MoreImages
from thumbnet.runs.run import Run
from thumbnet.training import resume, train
from thumbnet.training.prepare import split
from thumbnet.training.progress import Display

FRACTIONS = (0.25, 0.5)
MORE_PER_CLASS = 50
RESAMPLES = 1_000


def measure_learning_curve(
    run: Run, dataset: Dataset, display: Display, fractions: Sequence[float] = FRACTIONS
) -> LearningCurve:
    """Train a run's recipe on fractions of its training images, and extrapolate.

    The runs of the fractions are kept in the directory `learning_curve` of the run. Those that are
    finished are not trained again, and those that were interrupted are resumed.

    Args:
        run: a finished run with validation images.
        dataset: the images that it was trained on; the test images are not used.
        display: shows the progress.
        fractions: of the training images, each above 0 and below 1.

    Returns:
        The contents of `learning_curve.json`.

    Raises:
        InputError: the run has no validation images, or its model was made by its user.
        JobError: training failed or was interrupted.
    """
    full = run.validation_predictions()
    if full is None:
        raise InputError(
            f"{run.path} has no validation images to measure a learning curve with; train it with "
            "--validation above 0"
        )
    recipe = run.recipe()
    training, validation, _ = split(recipe, dataset)
    judged = replace(
        dataset, train=training, validation=validation, test=validation, skipped=(), path=None
    )
    answers = []
    for fraction in sorted(fractions):
        display.message(f"{run.name}: training on {fraction:.0%} of the training images")
        path = run.path / "learning_curve" / f"{fraction:g}"
        changes = {
            "subset": recipe.subset * fraction,
            "epochs": max(1, round(recipe.epochs / fraction)),
        }
        if Run.is_free(path):
            one = train(recipe.override(changes), judged, path, display=display)
        else:
            one = resume(path, judged, display=display)
        answers.append((one.metrics().train_images, one.predictions()))
    answers.append((run.metrics().train_images, full))
    curve = describe_learning_curve(answers)
    write_record(run.path / "learning_curve.json", curve)
    figure = accuracy_by_images_chart(
        [point.train_images for point in curve.points],
        [point.accuracy for point in curve.points],
        curve.validation_images,
    )
    add_title(figure, "Learning curve", f"{label(run.name)} on {label(dataset.name)}")
    save_figure(figure, run.figures_path / "accuracy_by_images.svg")
    return curve


def describe_learning_curve(answers: Sequence[tuple[int, Predictions]]) -> LearningCurve:
    """The points of a learning curve, and what it promises for more images.

    Args:
        answers: for each number of training images, in increasing order, the predictions of the
            same validation images.
    """
    images = np.array([count for count, _ in answers], np.float64)
    right = np.array([predictions.correct for _, predictions in answers], np.float64)
    last = answers[-1][1]
    classes = evaluate(last).classes
    more = images[-1] + MORE_PER_CLASS * len(last.class_names)
    random = np.random.default_rng(0)
    drawn = random.integers(0, right.shape[1], size=(RESAMPLES, right.shape[1]))
    gains = [_gain(images, right[:, some].mean(axis=1), more) for some in drawn]
    low, high = np.quantile(gains, [0.025, 0.975])
    return LearningCurve(
        validation_images=right.shape[1],
        points=[
            CurvePoint(
                train_images=count,
                accuracy=float(predictions.correct.mean()),
                recall=[row.recall for row in evaluate(predictions).classes],
            )
            for count, predictions in answers
        ],
        classes=list(last.class_names),
        more=MoreImages(
            per_class=MORE_PER_CLASS,
            gain=_gain(images, right.mean(axis=1), more),
            low=float(low),
            high=float(high),
        ),
        neediest=min(
            (row for row in classes if row.support), key=lambda row: (row.recall, row.f1)
        ).name,
    )


def _gain(images: Float64Array, accuracy: Float64Array, more: float) -> float:
    """Accuracy gained with `more` images, if the error goes on to fall as a power of them."""
    error = np.maximum(1 - accuracy, 1e-3)
    slope, _ = np.polyfit(np.log(images), np.log(error), 1)
    fraction_left = min(1.0, (more / images[-1]) ** slope)
    return float(error[-1] * (1 - fraction_left))
