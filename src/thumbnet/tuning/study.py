"""A study: its plan, its directory and Optuna's storage."""

import math
import re
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobError, ThumbnetError, quoted, shown
from thumbnet.installing import install_command
from thumbnet.recipe import Recipe
from thumbnet.record import Amount, Count, Fraction, Record, Text, read_record, write_record
from thumbnet.runs.records import DataIdentity
from thumbnet.runs.run import Run
from thumbnet.training.cost import planned_flop
from thumbnet.tuning.checking import require_valid_trials
from thumbnet.tuning.space import (
    Space,
    first_points,
    parse_space,
    space_text,
    starting_point,
)

if TYPE_CHECKING:
    import optuna

QUARTERS = 4
# Space-filling trials before the sampler starts to model the results; fewer in small spaces.
_FIRST_TRIALS = 10
# Finished trials before pruning starts.
COMPARED_TRIALS = 5
# While the learning rate is high, or the images are small, a good recipe can look bad: one of the
# best trials had by far the lowest accuracy at half of its epochs.
FIRST_PRUNED_QUARTER = 3
KEPT_PERCENT = 75.0
# User attributes: of a trial whose worker has died; and the seconds that the search had spent when
# the last epoch of a trial ended.
ABANDONED, SPENT = "last_sign", "seconds_spent"
Objective = Literal["accuracy", "cost"]
_DIRECTIONS: dict[Objective, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "cost": "minimize",
}


class Plan(Record):
    """The definition of a study; `tuning.json` in its directory.

    Attributes:
        name: name of the study in its storage, which may contain others.
        recipe: the initial recipe, as TOML text.
        space: the search space, as TOML text.
        data: description of the images, as in a run's `environment.json`.
        objectives: "accuracy", or "accuracy" and "cost".
        budget_seconds: time limit, summed over all sessions; 0 for none.
        trials: number of trials; 0 for no limit.
        screen: fraction of the images on which each recipe is trained first; 0 to train every
            recipe on all images at once.
        cost_limit: trials that would need more FLOP are not trained.
        storage: a database URL; empty for the journal in the directory.
        seed: seed of the sampler.
    """

    name: Text
    recipe: str
    space: str
    data: DataIdentity
    objectives: Annotated[tuple[Objective, ...], Field(strict=False, min_length=1)]
    budget_seconds: Amount
    trials: Count
    screen: Fraction
    cost_limit: Amount
    storage: str
    seed: Count

    @classmethod
    def make(
        cls,
        recipe: Recipe,
        space: Path | None,
        dataset: Dataset,
        *,
        name: str,
        objectives: tuple[Objective, ...] = ("accuracy",),
        budget_seconds: float = 0.0,
        trials: int = 0,
        screen: float = 0.0,
        max_cost: float = 1.0,
        storage: str = "",
        seed: int = 0,
    ) -> "Plan":
        """A new plan, with a name that is unique in the storage.

        Args:
            recipe: the initial recipe.
            space: a file with the search space; by default that of the architecture.
            dataset: the images.
            name: first part of the study's name; a random part makes it unique.
            objectives: as in `Plan`.
            budget_seconds: as in `Plan`.
            trials: as in `Plan`.
            screen: as in `Plan`.
            max_cost: cost limit of a trial, as a multiple of the initial recipe's FLOP.
            storage: as in `Plan`.
            seed: as in `Plan`.

        Raises:
            InputError: the space is invalid, or there is no validation split.
        """
        # Every trial trains all its epochs and is compared by the same metric.
        recipe = recipe.override(
            {
                "stopping.patience": 0,
                "stopping.budget_seconds": 0,
                "stopping.target_accuracy": 0,
                "metrics": ["accuracy"],
            }
        )
        if not recipe.validation and dataset.validation is None:
            raise InputError(
                "a search needs validation images; set validation above 0 in the recipe"
            )
        return cls(
            name=f"{name}-{uuid.uuid4().hex[:8]}",
            recipe=recipe.to_toml(),
            space=space_text(recipe, space),
            data=DataIdentity(
                name=dataset.name,
                path=str(dataset.path.resolve()) if dataset.path else None,
                reading=dataset.reading.model_dump(),
                digests=dataset.digests,
            ),
            objectives=objectives,
            budget_seconds=budget_seconds,
            trials=trials,
            screen=screen,
            cost_limit=max_cost * planned_flop(recipe, dataset),
            storage=storage,
            seed=seed,
        )

    def base(self) -> Recipe:
        """The initial recipe."""
        return Recipe.parse(self.recipe, "the recipe of the search")

    def dimensions(self) -> Space:
        """The search space."""
        return parse_space(self.space, "the space of the search", self.base())

    def first(self) -> list[dict[str, Any]]:
        """The space-filling points to try before the sampler models the results."""
        space = self.dimensions()
        return first_points(space, min(_FIRST_TRIALS, 2 * len(space)), self.seed)


@dataclass(frozen=True)
class Tuning:
    """The directory of a search.

    Attributes:
        path: path of the directory.
        storage: URL of the database, as the user gave it; empty for the journal in the directory.
            The URL in `tuning.json` is not used, as the directory may be from an untrusted source.
    """

    path: Path
    storage: str = ""

    @classmethod
    def begin(cls, path: Path, plan: Plan) -> "Tuning":
        """Create the directory and the study; the first trial is the initial recipe.

        An initial recipe outside the search space is not tried.

        Raises:
            InputError: the directory is not empty, or the driver of the database is missing.
            JobError: the storage cannot be reached.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(
                f"{path} is not empty; choose another directory, or --resume {quoted(path)}"
            )
        path.mkdir(parents=True, exist_ok=True)
        write_record(path / "tuning.json", plan)
        tuning = cls(path, plan.storage)
        try:
            study = tuning.study()
        except ThumbnetError:
            # A search that cannot start leaves no directory behind.
            shutil.rmtree(path)
            raise
        if start := starting_point(plan.dimensions(), plan.base()):
            study.enqueue_trial(start)
        return tuning

    def plan(self) -> Plan:
        """Read the definition of the study.

        Raises:
            InputError: this is not the directory of a search, or its plan is damaged.
        """
        file = self.path / "tuning.json"
        try:
            return read_record(file, Plan)
        except FileNotFoundError as error:
            raise InputError(
                f"{self.path} is not the directory of a search: it has no {file.name}"
            ) from error

    @property
    def resume_command(self) -> str:
        """The command that continues the search, in backticks for a message."""
        storage = " --storage URL" if self.storage else ""
        return f"`thumbnet tune --resume {quoted(self.path)}{storage}`"

    @property
    def best_path(self) -> Path:
        return self.path / "best.toml"

    @property
    def figures_path(self) -> Path:
        return self.path / "figures"

    @property
    def report_path(self) -> Path:
        return self.path / "report.html"

    def trial_run(self, number: int) -> Run:
        """The run directory of a trial."""
        return Run(self.path / "trials" / f"{number:04d}")

    def study(self) -> "optuna.Study":
        """Open the study in its storage, or create it.

        Raises:
            InputError: the driver of the database is missing, the search is in a database that was
                not given, or its trials are damaged.
            JobError: the storage cannot be reached.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        plan = self.plan()
        self._require_same_storage(plan)
        try:
            study = optuna.create_study(
                study_name=plan.name,
                storage=_storage(self.storage, self.path),
                directions=[_DIRECTIONS[objective] for objective in plan.objectives],
                sampler=_sampler(plan, self.path),
                pruner=optuna.pruners.PercentilePruner(
                    KEPT_PERCENT,
                    n_startup_trials=COMPARED_TRIALS,
                    n_warmup_steps=FIRST_PRUNED_QUARTER,
                ),
                load_if_exists=True,
            )
            trials = study.get_trials(deepcopy=False)
            require_valid_trials(trials, plan.dimensions(), len(plan.objectives))
            return study
        except ImportError as error:
            raise InputError(
                "the database driver that --storage needs is not installed; for PostgreSQL: "
                f"{install_command('postgresql')}"
            ) from error
        except ThumbnetError:
            raise
        except Exception as error:  # each database driver has its own exception classes
            if self.storage:
                raise JobError(f"the study of {self.path} cannot be opened: {error}") from error
            raise InputError(
                f"{self._journal_path} is damaged: {type(error).__name__}: {error}"
            ) from error

    @property
    def _journal_path(self) -> Path:
        return self.path / "journal.log"

    def _require_same_storage(self, plan: Plan) -> None:
        if plan.storage and not self.storage:
            place = re.sub("//[^/]*@", "//", plan.storage)  # without a password
            raise InputError(
                f"{self.path} keeps its trials in the database {shown(place[:200])}; if you trust "
                "that address, give it again with --storage"
            )
        if self.storage and not plan.storage:
            raise InputError(f"{self.path} keeps its trials in the directory; omit --storage")


class SearchClock:
    """Time in which at least one worker was running trials, over all sessions.

    Within a session, from its first trial on, the clock is monotonic. A session starts from the
    time that earlier sessions and other workers recorded in their trials.
    """

    def __init__(self, study: "optuna.Study") -> None:
        self._study = study
        self._before, self._started = seconds_spent(study), math.inf

    def start(self) -> None:
        """Start counting, with the first trial of this worker."""
        self._started = min(self._started, time.monotonic())

    def seconds(self) -> float:
        """The time of this worker, or of another one that is ahead of it."""
        own = self._before + max(0.0, time.monotonic() - self._started)
        return max(own, seconds_spent(self._study))


def seconds_spent(study: "optuna.Study") -> float:
    """Time in which at least one trial was running, up to the end of the last recorded epoch."""
    trials = study.get_trials(deepcopy=False)
    recorded = [trial.user_attrs[SPENT] for trial in trials if SPENT in trial.user_attrs]
    if recorded:
        return float(max(recorded))
    # A search of version 0.1.0, which recorded dates only.
    return sum(trial.duration.total_seconds() for trial in trials if trial.duration)


def _storage(url: str, path: Path) -> Any:
    if url:
        return url
    from optuna.storages import JournalStorage

    from thumbnet.tuning.journal import Journal

    return JournalStorage(Journal(path / "journal.log"))


def _sampler(plan: Plan, path: Path) -> "optuna.samplers.BaseSampler":
    import optuna

    # Workers with the same seed would all propose the same trials.
    others = len(list((path / "workers").glob("*.lock"))) if (path / "workers").is_dir() else 0
    first = len(plan.first())
    return optuna.samplers.TPESampler(seed=plan.seed + others, n_startup_trials=first)
