"""The run directory: the output of training and the only input of later stages.

- `recipe.toml`: all settings of the run.
- `environment.json`: versions, processor, threads, data digests, git revision.
- `history.csv`: one row per epoch.
- `checkpoints/`: checkpoints for resuming.
- `model.keras`: the model from raw uint8 pixels to class probabilities.
- `layers.csv`: its layers, their output shapes and parameters.
- `predictions.npz`: predictions for the test images.
- `validation_predictions.npz`: predictions for the validation images, if there are any.
- `metrics.json`: all metrics of training and evaluation; its presence marks a finished run.
- `classes.csv`, `confusion.csv`: per-class scores and the confusion matrix.
- `confused_pairs.csv`, `mistakes.csv`, `uncertain.csv`, `label_suspects.csv`: confused classes,
  misclassified and uncertain images, and possible label errors.
- `MODEL_CARD.md`: the run in the Hugging Face card format.
- `robustness.json`, `explanations/`, `near_duplicates.csv`: written by their own subcommands.
- `exports/`: the model for other runtimes, written by `thumbnet export`.
- `figures/`: charts of the results.
- `report.html`: written by `thumbnet report`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.atomic import remove_leftovers, write_text
from thumbnet.csv_files import write_table
from thumbnet.errors import InputError, JobError, StorageError, quoted, shown
from thumbnet.evaluation.predictions import Predictions
from thumbnet.evaluation.records import Evaluation
from thumbnet.locking import HELD_SUFFIX, acquire_lock
from thumbnet.recipe import Recipe
from thumbnet.record import Read, read_record, write_record
from thumbnet.runs.history import History
from thumbnet.runs.records import (
    Audit,
    Environment,
    Explanations,
    Export,
    Exports,
    Metrics,
    Robustness,
)

if TYPE_CHECKING:
    from thumbnet.engines.prediction import PredictedImages
    from thumbnet.figures.of_run import RunCharts

LOCK_NAME = ".lock"


@dataclass(frozen=True, init=False)
class Run:
    """A run directory, whose files are read only when needed."""

    path: Path

    def __init__(self, path: str | Path) -> None:
        object.__setattr__(self, "path", Path(path))

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open an existing run directory.

        Raises:
            InputError: `path` is not a run directory.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise InputError(f"{path} is not a directory; give the directory of a run")
        if not run.recipe_path.is_file():
            raise InputError(f"{path} is not a run directory: it has no {run.recipe_path.name}")
        return run

    @staticmethod
    def is_free(path: str | Path) -> bool:
        """Whether a new run can use this directory.

        It must not exist, be empty, or contain only files of a run that was killed before its
        recipe was written, which cannot be resumed.
        """
        directory = Path(path)
        if not directory.exists():
            return True
        ours = {LOCK_NAME, LOCK_NAME + HELD_SUFFIX, Run(directory).environment_path.name}
        return directory.is_dir() and all(
            entry.name in ours or entry.name.startswith(".writing-")
            for entry in directory.iterdir()
        )

    @staticmethod
    def require_free(path: str | Path) -> None:
        """Refuse a path that a new run cannot use.

        Raises:
            InputError: it is a file, or a directory that is not empty.
        """
        if Path(path).exists() and not Path(path).is_dir():
            raise InputError(f"{path} is a file; give a directory for the run")
        if not Run.is_free(path):
            raise InputError(
                f"{path} is not empty; choose another directory, resume the run in it, or "
                "delete it first (--overwrite on the command line)"
            )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run against other processes; the lock is released if this process dies.

        Raises:
            JobError: another process holds the lock, or the directory cannot be written.
        """
        from filelock import Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = acquire_lock(self.path / LOCK_NAME, wait=False)
        except Timeout as error:
            raise JobError(
                f"{self.path} is being trained by another process, which holds {error.lock_file}; "
                "wait for it, or choose another directory"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}") from error
        try:
            yield
        finally:
            lock.release()

    def begin(self, recipe: Recipe, environment: Environment) -> None:
        """Write the files that define the run, before training.

        Raises:
            InputError: the directory is not empty.
            JobError: it cannot be written.
        """
        self.require_free(self.path)
        remove_leftovers(self.path)
        write_record(self.environment_path, environment)
        # The recipe marks the directory as a run that can be resumed, so it is written last.
        write_text(self.recipe_path, recipe.to_toml())

    def change_recipe(self, recipe: Recipe, settings: Mapping[str, Any]) -> None:
        """Replace the recipe, and record the changed settings."""
        environment = self.environment()
        changed = [*environment.changed_on_resuming, dict(settings)]
        write_record(
            self.environment_path, environment.model_copy(update={"changed_on_resuming": changed})
        )
        write_text(self.recipe_path, recipe.to_toml())

    @property
    def name(self) -> str:
        """The name of the directory, used for the run in tables and figures."""
        return shown(self.path.resolve().name)

    @property
    def resume_command(self) -> str:
        """The command that resumes the run, in backticks for a message."""
        return f"`thumbnet train --resume {quoted(self.path)}`"

    @property
    def recipe_path(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def environment_path(self) -> Path:
        return self.path / "environment.json"

    @property
    def history_path(self) -> Path:
        return self.path / "history.csv"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model_path(self) -> Path:
        return self.path / "model.keras"

    @property
    def layers_path(self) -> Path:
        return self.path / "layers.csv"

    @property
    def predictions_path(self) -> Path:
        return self.path / "predictions.npz"

    @property
    def validation_predictions_path(self) -> Path:
        return self.path / "validation_predictions.npz"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.json"

    @property
    def figures_path(self) -> Path:
        return self.path / "figures"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    @property
    def model_card_path(self) -> Path:
        return self.path / "MODEL_CARD.md"

    @property
    def robustness_path(self) -> Path:
        return self.path / "robustness.json"

    @property
    def audit_path(self) -> Path:
        return self.path / "audit.json"

    @property
    def explanations_path(self) -> Path:
        return self.path / "explanations"

    @property
    def exports_path(self) -> Path:
        return self.path / "exports"

    @property
    def exports_record_path(self) -> Path:
        return self.exports_path / "exports.json"

    @property
    def finished(self) -> bool:
        """Whether training has ended and its results were written."""
        return self.metrics_path.is_file()

    def recipe(self) -> Recipe:
        """The resolved recipe: file, defaults and overrides combined."""
        return Recipe.read(self.recipe_path)

    def environment(self) -> Environment:
        """Software, hardware and data of the run.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            return read_record(self.environment_path, Environment)
        except FileNotFoundError as error:
            raise InputError(
                f"{self.path} is not a run directory: it has no {error.filename}"
            ) from error

    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the model's outputs."""
        return tuple(self.environment().data.class_names)

    def metrics(self) -> Metrics:
        """The content of `metrics.json`.

        Raises:
            InputError: the run has not finished, or the file is damaged.
        """
        try:
            return read_record(self.metrics_path, Metrics)
        except FileNotFoundError as error:
            raise InputError(
                f"{self.metrics_path} is missing: the run did not finish; continue with "
                f"{self.resume_command}"
            ) from error

    def evaluate(self) -> Evaluation:
        """Compute every metric of the test predictions."""
        from thumbnet.evaluation.metrics import evaluate

        return evaluate(self.predictions())

    def predict(self, images: object, engine: str | None = None) -> "PredictedImages":
        """Classify images: files, folders or arrays; see `thumbnet.predict`.

        Args:
            images: a file, a folder, several of these, or an array of images.
            engine: see `thumbnet.open_engine`.

        Raises:
            InputError: the run has not finished, or the images cannot be used.
        """
        from thumbnet.engines.prediction import predict

        return predict(self, images, engine)

    @property
    def plot(self) -> "RunCharts":
        """The charts of this run: `run.plot.learning()`, `run.plot.confusion()` and so on."""
        from thumbnet.figures.of_run import RunCharts

        return RunCharts(self)

    def __repr__(self) -> str:
        try:
            state = str(self.metrics()) if self.finished else "not finished"
        except InputError as error:
            state = str(error)
        return f"<Run {shown(self.path)}: {state}>"

    def _repr_html_(self) -> str:
        from thumbnet.notebook import run_html

        return run_html(self)

    def predictions(self) -> Predictions:
        """The predictions for the test images."""
        return self._predictions_in(self.predictions_path)

    def validation_predictions(self) -> Predictions | None:
        """The predictions for the validation images; None if there are none."""
        if not self.validation_predictions_path.exists():
            return None
        return self._predictions_in(self.validation_predictions_path)

    def _predictions_in(self, path: Path) -> Predictions:
        predictions = Predictions.load(path)
        if predictions.class_names != self.class_names():
            raise InputError(
                f"{path} and {self.environment_path.name} have different class names; one of them "
                "is damaged or belongs to another run"
            )
        return predictions

    def robustness(self) -> Robustness | None:
        """The results of `thumbnet robustness`; None if it was not run."""
        return _read_if_exists(self.robustness_path, Robustness)

    def audit(self) -> Audit | None:
        """The results of `thumbnet audit`; None if it was not run."""
        return _read_if_exists(self.audit_path, Audit)

    def explanations(self) -> Explanations | None:
        """The results of `thumbnet explain`; None if it was not run."""
        return _read_if_exists(self.explanations_path / "explanations.json", Explanations)

    def exports(self) -> dict[str, Export]:
        """The exports by name; empty if there are none."""
        found = _read_if_exists(self.exports_record_path, Exports)
        return found.root if found else {}

    def temperature(self) -> float:
        """The temperature that calibrates the probabilities; 1 if none was fitted.

        Raises:
            InputError: the run has not finished, or the file is damaged.
        """
        return self.metrics().calibration.temperature

    def history(self) -> History:
        """The metrics of each epoch; empty before the end of the first one.

        Raises:
            InputError: the file is damaged.
        """
        try:
            return History.read(self.history_path)
        except FileNotFoundError:
            return History([])

    def data_source(self) -> str:
        """A description of the data's origin for publication.

        The parent folders of the user's own data are removed.
        """
        source, path = self.metrics().data_source, self.environment().data.path
        if not path:
            return source
        name = Path(path).name
        without = source.replace(path, name)
        # Also the path as it was given, which may be relative.
        return re.sub(rf"\S*/(?={re.escape(name)})", "", without) if name else without

    def write_metrics(self, metrics: Metrics) -> None:
        write_record(self.metrics_path, metrics)

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        write_table(self.history_path, [row.values() for row in History.of(history)])


def _read_if_exists(path: Path, kind: type[Read]) -> Read | None:
    return read_record(path, kind) if path.is_file() else None
