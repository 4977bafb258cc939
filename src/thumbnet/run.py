"""The run directory: what training writes and the only thing that later stages take.

- `recipe.toml`: all that decided the run.
- `environment.json`: versions, processor, threads, data digests, git revision.
- `history.csv`: a row an epoch.
- `checkpoints/`: what a stopped run goes on from.
- `model.keras`: from raw uint8 pixels to class probabilities.
- `predictions.npz`: of the test images.
- `validation_predictions.npz`: of the validation images, where some were held out.
- `metrics.json`: every figure of the evaluation and of the training; a run is finished with it.
- `classes.csv`, `confusion.csv`: the tables of the evaluation.
- `confused_pairs.csv`, `mistakes.csv`, `uncertain.csv`, `label_suspects.csv`: which images and
  classes go wrong.
- `MODEL_CARD.md`: the run in the Hugging Face card format.
- `robustness.json`, `explanations/`, `near_duplicates.csv`: by their own subcommands.
- `figures/`: pictures of all that.
- `report.html`: written by `thumbnet report`.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbnet.atomic import write_json, write_text
from thumbnet.errors import InputError
from thumbnet.evaluation.predictions import Predictions
from thumbnet.recipe import Recipe


@dataclass(frozen=True)
class Run:
    """A run directory; nothing of it is read before it is asked for."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """The run in an existing directory.

        Raises:
            InputError: there is no run directory at `path`.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise InputError(f"{path} is no directory; give the directory of a run")
        if not run.recipe_path.is_file():
            raise InputError(f"{path} is no run directory: it holds no {run.recipe_path.name}")
        return run

    @classmethod
    def create(cls, path: str | Path, recipe: Recipe) -> "Run":
        """A new run in a directory that is empty or does not exist yet.

        Raises:
            InputError: the directory holds something already.
            JobError: it cannot be written.
        """
        cls.require_free(path)
        run = cls(Path(path))
        write_text(run.recipe_path, recipe.to_toml())
        return run

    @staticmethod
    def require_free(path: str | Path) -> None:
        """Refuse a path that a new run cannot have.

        Raises:
            InputError: it is a file, or a directory that is not empty.
        """
        directory = Path(path)
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{path} is a file; give a directory for the run")
        if directory.is_dir() and any(directory.iterdir()):
            raise InputError(
                f"{path} is not empty; choose another directory, or overwrite or resume the run"
            )

    @property
    def name(self) -> str:
        """The directory's own name, which stands for the run in tables and figures."""
        return self.path.resolve().name

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
    def finished(self) -> bool:
        """Whether training ended and its results were written."""
        return self.metrics_path.is_file()

    def recipe(self) -> Recipe:
        """The recipe as it was resolved: file, defaults and overrides together."""
        return Recipe.read(self.recipe_path)

    def environment(self) -> dict[str, Any]:
        """Where and with what the run was made."""
        return _read_json(self.environment_path)

    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the model's outputs."""
        try:
            return tuple(str(name) for name in self.environment()["data"]["class_names"])
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.environment_path} is damaged: no class names") from error

    def metrics(self) -> dict[str, Any]:
        """What `metrics.json` holds.

        Raises:
            InputError: the run has not finished, or the file is damaged.
        """
        return _read_json(self.metrics_path)

    def predictions(self) -> Predictions:
        """The predictions of the test images."""
        return Predictions.load(self.predictions_path)

    def validation_predictions(self) -> Predictions | None:
        """The predictions of the validation images; None where none were held out."""
        if not self.validation_predictions_path.exists():
            return None
        return Predictions.load(self.validation_predictions_path)

    def temperature(self) -> float:
        """What to divide logits by to get calibrated probabilities; 1 where none was fitted.

        Raises:
            InputError: the run has not finished, or the file is damaged.
        """
        calibration = self.metrics().get("calibration") or {}
        temperature = calibration.get("temperature", 1.0) if isinstance(calibration, dict) else None
        if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
            raise InputError(
                f"{self.metrics_path} is damaged: the temperature is {temperature!r}; write it "
                f"anew with `thumbnet evaluate {self.path} --recompute`"
            )
        return float(temperature)

    def history(self) -> list[dict[str, float]]:
        """One row an epoch; a value that was not measured is missing from its row."""
        try:
            text = self.history_path.read_text(encoding="utf-8")
            return [
                {name: float(value) for name, value in row.items() if value}
                for row in csv.DictReader(io.StringIO(text))
            ]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{self.history_path} is damaged: {error}") from error

    def write_environment(self, environment: Mapping[str, Any]) -> None:
        write_json(self.environment_path, environment)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        write_json(self.metrics_path, metrics)

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        write_table(self.history_path, history)


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV; the columns are all names that occur, in order of appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_json_if_there(path: Path) -> dict[str, Any] | None:
    """What a JSON file of a run holds; None where that step has not been taken."""
    return _read_json(path) if path.is_file() else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{path} is missing: the run did not finish; go on with "
            f"`thumbnet train --resume {path.parent}`"
        ) from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} is damaged: it holds a {type(values).__name__}, not an object")
    return values
