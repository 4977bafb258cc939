"""The data of a run that the report needs, read and checked once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thumbnet.data.dataset import Dataset, content_digest
from thumbnet.data.reading import Reading
from thumbnet.errors import InputError
from thumbnet.evaluation.calibration import (
    at_temperature,
    probability_scores,
    rejection_table,
)
from thumbnet.evaluation.metrics import evaluate
from thumbnet.evaluation.predictions import Predictions
from thumbnet.evaluation.records import Evaluation, Rejection
from thumbnet.figures.style import SERIES
from thumbnet.recipe import Recipe
from thumbnet.runs.history import History
from thumbnet.runs.records import Audit, Environment, Explanations, Metrics, Robustness
from thumbnet.runs.run import Run


@dataclass(frozen=True, eq=False)
class Result:
    """A finished run in memory.

    Attributes:
        name: unique name of the run in the report.
        slot: index of the run's colour.
        run, recipe, environment, metrics, history, predictions: as in the run directory.
        evaluation: evaluation of `predictions`.
        calibrated: `predictions` after temperature scaling.
        robustness, audit, explanations: results of these subcommands; None if they were not run.
    """

    name: str
    slot: int
    run: Run
    recipe: Recipe
    environment: Environment
    metrics: Metrics
    history: History
    predictions: Predictions
    evaluation: Evaluation
    calibrated: Predictions
    robustness: Robustness | None
    audit: Audit | None
    explanations: Explanations | None

    @property
    def temperature(self) -> float:
        return self.run.temperature()

    @property
    def uncalibrated(self) -> str | None:
        """The reason why the probabilities are not calibrated; None if they are."""
        return self.metrics.calibration.reason

    @property
    def scores(self) -> list[tuple[str, float, float]]:
        """Scores of the probabilities: name, value before calibration, value after calibration."""
        before, after = probability_scores(self.predictions), probability_scores(self.calibrated)
        return [
            (name.replace("_", " "), value, getattr(after, name))
            for name, value in before.model_dump().items()
        ]

    @property
    def rejection(self) -> list[Rejection]:
        return rejection_table(self.calibrated)

    @property
    def overconfidence(self) -> float:
        """Mean confidence minus accuracy; positive if the model is overconfident."""
        return float(self.predictions.confidence.mean(dtype=np.float64)) - self.evaluation.accuracy

    @property
    def shown_path(self) -> str:
        """The path of the run in a command, without folders that would reveal the user's."""
        return self.run.path.name if self.run.path.is_absolute() else str(self.run.path)

    @property
    def data_name(self) -> str:
        """File or folder name of the user's data, without its path; empty for CIFAR-10."""
        return Path(self.environment.data.path or "").name

    @property
    def reading_options(self) -> dict[str, Any]:
        """The options for reading the files that differ from the defaults."""
        defaults = Reading().model_dump()
        recorded = self.environment.data.reading
        return {key: value for key, value in recorded.items() if value != defaults.get(key)}


def read_results(runs: Sequence[Run], dataset: Dataset | None) -> list[Result]:
    """Read all runs of a report.

    Raises:
        InputError: there is no run, a run is given twice, unfinished or damaged, the runs have
            different test images or classes, or they were not tested on the images of `dataset`.
    """
    if not runs:
        raise InputError("a report needs at least one run")
    paths = Counter(run.path.resolve() for run in runs)
    twice = [str(path) for path, times in paths.items() if times > 1]
    if twice:
        raise InputError(f"{twice[0]} is given twice; give each run once")
    same_name = Counter(run.name for run in runs)
    names = [run.name if same_name[run.name] == 1 else str(run.path) for run in runs]
    results = [_read(run, names[i], i % len(SERIES)) for i, run in enumerate(runs)]
    for result in results:
        if result.predictions.class_names != results[0].predictions.class_names:
            raise InputError(
                f"{names[0]} and {result.name} have different classes; report on runs of the same "
                "dataset"
            )
        if dataset is not None:
            _check_images(result, dataset)
    return results


def _read(run: Run, name: str, slot: int) -> Result:
    metrics = run.metrics()
    predictions = run.predictions()
    if len(predictions) == 0:
        raise InputError(f"{run.predictions_path} has no predictions; train the run again")
    return Result(
        name=name,
        slot=slot,
        run=run,
        recipe=run.recipe(),
        environment=run.environment(),
        metrics=metrics,
        history=run.history(),
        predictions=predictions,
        evaluation=evaluate(predictions),
        calibrated=at_temperature(predictions, run.temperature()),
        robustness=run.robustness(),
        audit=run.audit(),
        explanations=run.explanations(),
    )


def _check_images(result: Result, dataset: Dataset) -> None:
    recorded = result.environment.data.digests.get("test_images")
    too_high = result.predictions.ids.max() >= len(dataset.test)
    if too_high or recorded != content_digest(dataset.test.images):
        raise InputError(
            f"{result.name} was not tested on the images from {dataset.source}; give the run's "
            "data, or none"
        )
