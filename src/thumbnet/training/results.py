"""Writes the results of a finished training to its run directory."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from thumbnet.atomic import replacing_path
from thumbnet.csv_files import write_table
from thumbnet.data.dataset import Dataset, Int64Array, LabelledImages
from thumbnet.data.duplicates import seen_before_the_test
from thumbnet.engines import Engine, KerasEngine, file_digest, in_batches, open_keras_engine
from thumbnet.engines.speed import measure_speed
from thumbnet.engines.test_time_augmentation import predict_views
from thumbnet.evaluation.calibration import at_temperature, describe_calibration
from thumbnet.evaluation.metrics import evaluate
from thumbnet.evaluation.mistakes import (
    confused_pairs,
    image_rows,
    least_confident_correct,
    likely_label_errors,
    most_confident_mistakes,
)
from thumbnet.evaluation.predictions import Predictions
from thumbnet.evaluation.records import Evaluation
from thumbnet.figures import write_figures
from thumbnet.models import finished_model
from thumbnet.models.flops import measure_model
from thumbnet.models.layers import layer_rows
from thumbnet.record import Record, merge_records
from thumbnet.runs.model_card import write_model_card
from thumbnet.runs.records import Metrics, PredictionFigures, TrainingCost, TrainingFigures
from thumbnet.runs.run import Run

if TYPE_CHECKING:
    from thumbnet.training.loop import Training

LISTED_UNCERTAIN = 100


def write_results(
    training: "Training", dataset: Dataset, cost: TrainingCost, message: Callable[[str], None]
) -> None:
    """Save the model, evaluate its predictions, and write the results.

    The predictions come from the saved model file, not from the model in memory, so that the
    metrics describe the file.

    Args:
        training: the finished training. `metrics.json`, which marks the run as finished, is written
            before the model card and the figures.
        dataset: its test images are read here, and nowhere else.
        cost: the cost of training, for `metrics.json`.
        message: shows why a figure is missing.
    """
    run, recipe, state = training.run, training.recipe, training.state
    held_out = training.prepared.held_out
    model = finished_model(training.model, dataset.test.images.shape[1:])
    with replacing_path(run.model_path) as path:
        model.save(path)
    engine = KerasEngine(run.model_path)
    names = dataset.class_names
    predictions = _predict(engine, dataset.test, np.arange(len(dataset.test)), names, "test")
    predictions.save(run.predictions_path)
    validation = None
    if len(held_out):
        part = "train" if dataset.validation is None else "validation"
        validation = _predict(engine, training.prepared.validation, held_out, names, part)
        validation.save(run.validation_predictions_path)
    seen = seen_before_the_test(dataset)
    unseen = predictions.correct[~seen]
    views = recipe.tta_views if recipe.tta_views > 1 else None
    measured = TrainingFigures(
        run=run.name,
        recipe=recipe.name,
        architecture=recipe.model.architecture,
        seed=recipe.seed,
        data_name=dataset.name,
        data_source=dataset.source,
        train_images=len(training.prepared.batches.data),
        validation_images=len(held_out),
        skipped_images=len(dataset.skipped),
        test_duplicates=int(seen.sum()),
        accuracy_without_duplicates=float(unseen.mean()) if len(unseen) else None,
        train_seconds=state.seconds,
        epochs_run=int(state.history[-1]["epoch"]),
        steps=state.step,
        stop_reason=state.stopped,
        model_sha256=file_digest(run.model_path),
        tta_views=views,
        accuracy_tta=_accuracy_of_views(engine, dataset.test, views) if views else None,
        **dict(cost),
        **dict(measure_model(model)),
        **dict(measure_speed(engine, dataset.test.images)),
    )
    write_table(run.layers_path, layer_rows(model))
    evaluation = evaluate(predictions)
    metrics = _write_evaluation(run, [measured], predictions, validation, evaluation)
    write_model_card(run)
    calibrated = at_temperature(predictions, metrics.calibration.temperature)
    write_figures(run, predictions, calibrated, evaluation, dataset, message)


def recompute(run: Run) -> Metrics:
    """Recompute and rewrite the metrics of a finished run from the files in its directory.

    Values that only the training could measure (its time, the speed of prediction) stay as they
    were recorded. A run made by this version gets the same `metrics.json` again; an older run also
    gets the metrics that have been added since.

    Returns:
        The content of the new `metrics.json`.

    Raises:
        InputError: the run has not finished, its model file has been replaced, or one of its files
            is damaged.
    """
    engine = open_keras_engine(run)
    write_table(run.layers_path, layer_rows(engine.model))
    predictions = run.predictions()
    return _write_evaluation(
        run,
        [run.metrics(), measure_model(engine.model)],
        predictions,
        run.validation_predictions(),
        evaluate(predictions),
    )


def _write_evaluation(
    run: Run,
    measured: Sequence[Record],
    predictions: Predictions,
    validation: Predictions | None,
    evaluation: Evaluation,
) -> Metrics:
    """Write the tables of an evaluation, and `metrics.json`.

    Args:
        run: a run with a model.
        measured: records of values that do not follow from the predictions.
        predictions: of the test images.
        validation: of the validation images; None if there are none.
        evaluation: of `predictions`.
    """
    figures = PredictionFigures(
        **dict(evaluation),
        # For the weights that were kept: after early stopping, these are not the last epoch's.
        validation_accuracy=None if validation is None else evaluate(validation).accuracy,
        model_bytes=run.model_path.stat().st_size,
        calibration=describe_calibration(predictions, validation),
        label_suspects=len(likely_label_errors(predictions)),
    )
    metrics = merge_records(Metrics, *measured, figures)
    write_table(run.path / "classes.csv", [row.model_dump() for row in evaluation.classes])
    write_table(run.path / "confusion.csv", _confusion_rows(evaluation, predictions.class_names))
    _write_mistakes(run, predictions, validation, metrics.calibration.temperature)
    run.write_metrics(metrics)
    return metrics


def _write_mistakes(
    run: Run, predictions: Predictions, validation: Predictions | None, temperature: float
) -> None:
    """Write the tables of images with calibrated probabilities, as `thumbnet predict` does."""
    calibrated = at_temperature(predictions, temperature)
    write_table(run.path / "confused_pairs.csv", confused_pairs(predictions))
    for name, positions in (
        ("mistakes", most_confident_mistakes(calibrated, len(calibrated))),
        ("uncertain", least_confident_correct(calibrated, LISTED_UNCERTAIN)),
    ):
        write_table(run.path / f"{name}.csv", image_rows(calibrated, positions))
    suspects = [
        row
        for answers in (predictions, validation)
        if answers is not None
        for row in image_rows(at_temperature(answers, temperature), likely_label_errors(answers))
    ]
    write_table(run.path / "label_suspects.csv", suspects)


def _predict(
    engine: Engine,
    images: LabelledImages,
    ids: Int64Array,
    class_names: tuple[str, ...],
    part: str,
) -> Predictions:
    answers = [engine.predict(images.images[some]) for some in in_batches(images.images)]
    probabilities = np.concatenate(answers)
    return Predictions(probabilities, images.labels, ids, class_names, part, images.names)


def _accuracy_of_views(engine: Engine, part: LabelledImages, views: int) -> float:
    right = 0
    for some in in_batches(part.images):
        answers = predict_views(engine, part.images[some], views).argmax(axis=1)
        right += int((answers == part.labels[some]).sum())
    return right / len(part)


def _confusion_rows(evaluation: Evaluation, names: tuple[str, ...]) -> list[dict[str, str | int]]:
    """Rows of `confusion.csv`: the true class, and the number of images per predicted class."""
    return [
        {"true": true} | dict(zip(names, row, strict=True))
        for true, row in zip(names, evaluation.confusion, strict=True)
    ]
