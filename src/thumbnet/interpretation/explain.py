"""Explanations of a run's predictions: attributions, a gallery, filters, a feature projection."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from thumbnet.atomic import replacing
from thumbnet.data.dataset import Images, Int64Array, LabelledImages, UInt8Array
from thumbnet.data.images import read_image
from thumbnet.engines import KerasEngine, in_batches, open_keras_engine
from thumbnet.errors import InputError, quoted
from thumbnet.evaluation.calibration import at_temperature
from thumbnet.evaluation.mistakes import least_confident_correct, most_confident_mistakes
from thumbnet.figures import image_grid, save_figure
from thumbnet.figures.grids import add_scale
from thumbnet.figures.heat import enlarged, heat_overlay
from thumbnet.figures.style import file_label
from thumbnet.figures.trust import projection_chart
from thumbnet.interpretation.attribution import (
    first_layer_images,
    grad_cam,
    integrated_gradients,
    smoothed_support,
)
from thumbnet.interpretation.differentiable import DifferentiableModel
from thumbnet.npz import read_npz
from thumbnet.record import write_record
from thumbnet.runs.records import ExplainedImage, Explanations
from thumbnet.runs.run import Run

EACH = 4  # images of each kind in the gallery
PROJECTED = 2_000

Report = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Attributions of the predictions for some images.

    Attributes:
        images: uint8 array of shape (n, height, width, channels).
        probabilities: calibrated, float32 array of shape (n, classes).
        grad_cam: uint8 RGB images (n, rows, columns, 3), coloured where they support the prediction
            and grey elsewhere; None for a model without convolutions.
        integrated_gradients: the same with integrated gradients instead of Grad-CAM.
    """

    images: UInt8Array
    probabilities: npt.NDArray[np.float32]
    grad_cam: UInt8Array | None
    integrated_gradients: UInt8Array


def explain_images(engine: KerasEngine, images: UInt8Array) -> Explanation:
    """Explain the predicted class of each image.

    Raises:
        JobError: the Keras backend is not TensorFlow.
    """
    probabilities = engine.predict(images)
    predicted: Int64Array = probabilities.argmax(axis=1)
    heat = grad_cam(engine.model, images, predicted)
    return Explanation(
        images=images,
        probabilities=probabilities,
        grad_cam=None if heat is None else heat_overlay(images, heat),
        integrated_gradients=heat_overlay(
            images, smoothed_support(integrated_gradients(engine.model, images, predicted))
        ),
    )


def explain_files(run: Run, paths: Sequence[Path], out: Path) -> Path:
    """Write one figure that explains the run's predictions for image files.

    Returns:
        `out`.

    Raises:
        InputError: a file is not an image, or the run cannot be used.
        JobError: the Keras backend is not TensorFlow, or `out` cannot be written.
    """
    engine = open_keras_engine(run)
    images = np.stack([read_image(path, engine.image_shape) for path in paths])
    names = [file_label(path.name) for path in paths]
    found = explain_images(engine, images)
    save_figure(_grid(found, names, run.class_names()), out)
    return out


def explain_run(run: Run, test: LabelledImages, report: Report) -> Explanations:
    """Explain some of a run's predictions, its first layer, and the separation of the classes.

    The gallery shows the most confident mistakes, the least confident correct predictions, and a
    random sample.

    Returns:
        The content of `explanations/explanations.json`; the images are written next to it.

    Raises:
        InputError: the run cannot be used.
        JobError: the Keras backend is not TensorFlow, or a file cannot be written.
    """
    engine, folder = open_keras_engine(run), run.explanations_path
    predictions = at_temperature(run.predictions(), run.temperature())
    chosen = {
        "most confident mistake": most_confident_mistakes(predictions, EACH),
        "least confident correct prediction": least_confident_correct(predictions, EACH),
        "random": _draw(len(predictions), EACH),
    }
    positions = np.concatenate(list(chosen.values()))
    report(f"{run.name}: explaining {len(positions)} test images")
    ids = predictions.ids[positions]
    found = explain_images(engine, test.images[ids])
    names = predictions.class_names
    kinds = [kind for kind, some in chosen.items() for _ in some]
    rows = [
        ExplainedImage(
            image=int(image),
            kind=kind,
            label=names[test.labels[image]],
            predicted=names[int(own.argmax())],
            confidence=float(own.max()),
        )
        for image, kind, own in zip(ids, kinds, found.probabilities, strict=True)
    ]
    captions = [f"true: {row.label}" for row in rows]
    save_figure(_grid(found, captions, names), folder / "gallery.png")
    first_layer = first_layer_images(engine.model)
    arrays: dict[str, npt.NDArray[Any]] = {"integrated_gradients": found.integrated_gradients}
    if found.grad_cam is not None:
        arrays["grad_cam"] = found.grad_cam
    if first_layer is not None:
        arrays["first_layer"] = first_layer
        captions = [""] * len(first_layer)
        save_figure(image_grid(first_layer, captions, columns=12), folder / "first_layer.png")
    report(f"{run.name}: projecting the features of {min(PROJECTED, len(test)):,} test images")
    shown = test.take(_draw(len(test), PROJECTED))
    points, explained = project_features(engine, shown.images)
    arrays |= {"points": points.astype(np.float32), "point_labels": shown.labels}
    save_figure(projection_chart(points, shown.labels, names), folder / "projection.svg")
    with replacing(folder / "explanations.npz") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    explanations = Explanations(
        gallery=rows,
        grad_cam=None if found.grad_cam is None else "of the last feature maps",
        grad_cam_reason="the model has no convolution" if found.grad_cam is None else None,
        first_layer_reason="its weights do not form images" if first_layer is None else None,
        projected_images=len(shown),
        projected_variance=explained,
    )
    write_record(folder / "explanations.json", explanations)
    return explanations


def project_features(engine: KerasEngine, images: Images) -> tuple[npt.NDArray[np.float64], float]:
    """Project the input of the last layer with weights onto its first two principal components.

    Returns:
        float64 array of shape (n, 2), and the fraction of the variance that these explain.
    """
    from sklearn.decomposition import PCA

    last = [layer for layer in engine.model.layers if getattr(layer, "kernel", None) is not None][
        -1
    ]
    before = engine.model.layers[engine.model.layers.index(last) - 1].name
    model = DifferentiableModel(engine.model, [before])
    features = np.concatenate([model.features(images[some]) for some in in_batches(images)])
    features = features.reshape(len(images), -1)
    projection = PCA(2, random_state=0).fit(features)
    points: npt.NDArray[np.float64] = projection.transform(features).astype(np.float64)
    return points, float(projection.explained_variance_ratio_.sum())


def load_arrays(run: Run) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays that `explain_run` wrote.

    Returns:
        "integrated_gradients" and, if they exist, "grad_cam" and "first_layer": uint8 images of
        shape (n, height, width, channels), where the first two have one image for each image of
        the gallery; "points": float32 of shape (n, 2); "point_labels": int64 of shape (n,).

    Raises:
        InputError: the file or `explanations.json` is missing or damaged.
    """
    path = run.explanations_path / "explanations.npz"
    remedy = f"run `thumbnet explain {quoted(run.path)}` again"
    try:
        arrays = read_npz(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing; {remedy}") from error
    if missing := {"integrated_gradients", "points", "point_labels"} - arrays.keys():
        raise InputError(f"{path} is damaged: {', '.join(sorted(missing))} missing; {remedy}")
    explanations = run.explanations()
    gallery = [] if explanations is None else explanations.gallery
    points, labels = arrays["points"], arrays["point_labels"]
    is_valid = (
        all(
            _are_images(arrays[name], None if name == "first_layer" else len(gallery))
            for name in ("integrated_gradients", "grad_cam", "first_layer")
            if name in arrays
        )
        and points.dtype == np.float32
        and labels.dtype == np.int64
        and points.shape == (len(labels), 2)
        and bool(np.isfinite(points).all())
        and all(row.image < run.metrics().test_images for row in gallery)
    )
    if not is_valid:
        raise InputError(f"{path} is damaged: an array has the wrong shape or dtype; {remedy}")
    return arrays


def _are_images(array: npt.NDArray[Any], count: int | None) -> bool:
    """Whether an array contains `count` images, or any number of images if it is None."""
    is_image = array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in (1, 3)
    return is_image and bool(array.size) and count in (None, len(array))


def _draw(total: int, count: int) -> Int64Array:
    chosen = np.random.default_rng(0).choice(total, min(count, total), replace=False)
    return np.sort(chosen).astype(np.int64)


def _grid(found: Explanation, titles: Sequence[str], names: Sequence[str]) -> Any:
    images, captions = [], []
    for number, title in enumerate(titles):
        own = found.probabilities[number]
        images.append(_color(enlarged(found.images[number][None])[0]))
        captions.append(f"{names[int(own.argmax())]} {own.max():.0%}\n{title}")
        if found.grad_cam is not None:
            images.append(found.grad_cam[number])
            captions.append("Grad-CAM\n")
        images.append(found.integrated_gradients[number])
        captions.append("integrated\ngradients")
    figure = image_grid(np.stack(images), captions, columns=4 if found.grad_cam is None else 6)
    add_scale(figure)
    return figure


def _color(image: UInt8Array) -> UInt8Array:
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image
