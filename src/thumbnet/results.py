"""What a finished training leaves in its run directory, beside the history."""

import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from thumbnet.atomic import replacing_path
from thumbnet.data.dataset import Dataset, Int64Array, LabelledImages
from thumbnet.engines import PREDICTION_BATCH, Engine, KerasEngine, file_digest
from thumbnet.evaluation.metrics import Evaluation, evaluate
from thumbnet.evaluation.predictions import Predictions
from thumbnet.figures import write_figures
from thumbnet.recipe import Recipe
from thumbnet.run import Run, write_table
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras

    from thumbnet.training import TrainingState


def write_results(
    run: Run,
    recipe: Recipe,
    model: "keras.Model",
    dataset: Dataset,
    validation: LabelledImages,
    held_out: Int64Array,
    state: "TrainingState",
) -> None:
    """Save the model, let it predict, evaluate that, and write all of it down.

    The predictions come from the model file as it will be opened later, not from the model in
    memory, so that the figures are those of what was saved.

    Args:
        run: where to write; `metrics.json`, which marks the run as finished, comes last but for
            the figures.
        recipe: how the model was trained.
        model: from uint8 pixels to logits.
        dataset: whose test images are read here, and nowhere else.
        validation: the images that model selection looked at.
        held_out: int64 indices of those among the training images, or in the validation part of
            a data set that has one.
        state: how training went.
    """
    _save_model(run, model)
    engine = KerasEngine(run.model_path)
    predictions = _predict(engine, dataset.test, np.arange(len(dataset.test)), dataset)
    predictions.save(run.predictions_path)
    if len(held_out):
        _predict(engine, validation, held_out, dataset).save(run.validation_predictions_path)

    evaluation = evaluate(predictions)
    write_table(run.path / "classes.csv", evaluation.to_dict()["classes"])
    write_table(run.path / "confusion.csv", _confusion_rows(evaluation, dataset.class_names))
    run.write_metrics(
        {
            "run": run.name,
            "recipe": recipe.name,
            "architecture": recipe.model.architecture,
            "seed": recipe.seed,
            "data_name": dataset.name,
            "data_source": dataset.source,
            "train_images": len(dataset.train) - (0 if dataset.validation else len(held_out)),
            "validation_images": len(held_out),
            "test_images": len(dataset.test),
            "skipped_images": len(dataset.skipped),
            **summarise(evaluation),
            "validation_accuracy": state.history[-1].get("validation_accuracy"),
            "train_seconds": state.seconds,
            "epochs_run": len(state.history),
            "steps": state.step,
            "stop_reason": state.stopped,
            "parameters": model.count_params(),
            "model_bytes": run.model_path.stat().st_size,
            "model_sha256": file_digest(run.model_path),
            **_measure_speed(engine, dataset.test),
        }
    )
    write_figures(run, dataset)


def summarise(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as the flat keys of `metrics.json`."""
    values = evaluation.to_dict()
    macro, weighted = values.pop("macro_average"), values.pop("weighted_average")
    values.pop("images")
    for name in ("precision", "recall", "f1"):
        values[f"macro_{name}"] = macro[name]
        values[f"weighted_{name}"] = weighted[name]
    return values


def _save_model(run: Run, model: "keras.Model") -> None:
    keras = prepare_keras()
    probabilities = keras.layers.Softmax(name="probabilities")(model.output)
    with replacing_path(run.model_path) as path:
        keras.Model(model.input, probabilities, name=model.name).save(path)


def _predict(
    engine: Engine, part: LabelledImages, ids: Int64Array, dataset: Dataset
) -> Predictions:
    answers = [
        engine.predict(part.images[start : start + PREDICTION_BATCH])
        for start in range(0, len(part), PREDICTION_BATCH)
    ]
    return Predictions(np.concatenate(answers), part.labels, ids, dataset.class_names)


def _confusion_rows(evaluation: Evaluation, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {"true": true} | dict(zip(names, row, strict=True))
        for true, row in zip(names, evaluation.confusion.tolist(), strict=True)
    ]


def _measure_speed(engine: Engine, part: LabelledImages) -> dict[str, float]:
    """Prediction speed in batches of up to 500 images, and the time for one image."""
    batch, one = part.images[:PREDICTION_BATCH], part.images[:1]
    engine.predict(one)  # the first call of each shape compiles
    batch_seconds = statistics.median(_seconds(engine, batch) for _ in range(5))
    one_seconds = statistics.median(_seconds(engine, one) for _ in range(25))
    return {"images_per_second": len(batch) / batch_seconds, "latency_ms": 1000 * one_seconds}


def _seconds(engine: Engine, images: Any) -> float:
    started = time.perf_counter()
    engine.predict(images)
    return time.perf_counter() - started
