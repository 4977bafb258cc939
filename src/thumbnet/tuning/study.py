"""A study: what is searched for, its directory, and where Optuna keeps what was tried."""

import json
import shutil
import uuid
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from thumbnet.atomic import write_json
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobError, ThumbnetError
from thumbnet.installing import install_command
from thumbnet.recipe import Recipe
from thumbnet.runs.records import read_bounded_text
from thumbnet.runs.run import Run
from thumbnet.training.cost import planned_flop
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
# Trials all over the space before the sampler goes by what it has seen; fewer in small spaces.
_FIRST_TRIALS = 10
# Trials in full before the pruner compares.
_COMPARED_TRIALS = 5
# While the learning rate is high, or the images are small, a good recipe may look like a bad one:
# one that was among the best had been the worst by far at half of its epochs.
_FIRST_PRUNED_QUARTER = 3
_KEPT_PERCENT = 75.0
# Of a trial whose worker has gone: when that was, as far as its files tell.
LAST_SIGN = "last_sign"
_DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "cost": "minimize",
}


@dataclass(frozen=True)
class Plan:
    """What a study is about; `tuning.json` in its directory.

    Attributes:
        name: of the study in its storage, which may hold others.
        recipe: where the search starts, as TOML text.
        space: what is varied, as TOML text.
        data: of the images, as a run's `environment.json` has it.
        objectives: "accuracy", or "accuracy" and "cost".
        budget_seconds: how long something is tried, over all sittings; 0 for no bound.
        trials: how many are tried; 0 for no bound.
        screen: the share of the images on which each recipe is tried first; 0 to train all in
            full at once.
        cost_limit: the FLOP of a training; what would take more is not tried.
        storage: a database URL; empty for the journal in the directory.
        seed: of the sampler.
    """

    name: str
    recipe: str
    space: str
    data: dict[str, Any]
    objectives: tuple[str, ...]
    budget_seconds: float
    trials: int
    screen: float
    cost_limit: float
    storage: str
    seed: int

    @classmethod
    def make(
        cls,
        recipe: Recipe,
        space: Path | None,
        dataset: Dataset,
        *,
        name: str,
        objectives: tuple[str, ...] = ("accuracy",),
        budget_seconds: float = 0.0,
        trials: int = 0,
        screen: float = 0.0,
        max_cost: float = 1.0,
        storage: str = "",
        seed: int = 0,
    ) -> "Plan":
        """A plan of its own, whatever else the storage holds.

        Args:
            recipe: where the search starts.
            space: a file that says what is varied; by default what comes with the architecture.
            dataset: the images.
            name: what the study is called, before a part that makes it unique.
            objectives: as in `Plan`.
            budget_seconds: as in `Plan`.
            trials: as in `Plan`.
            screen: as in `Plan`.
            max_cost: how many times the recipe's own arithmetic a trial may take.
            storage: as in `Plan`.
            seed: as in `Plan`.

        Raises:
            InputError: the space cannot be used, or no images are held out.
        """
        # Nothing but the epochs ends a trial, and all are compared by the same measure.
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
            data={
                "name": dataset.name,
                "path": str(dataset.path.resolve()) if dataset.path else None,
                "reading": dataset.reading.model_dump(),
                "digests": dataset.digests,
            },
            objectives=objectives,
            budget_seconds=budget_seconds,
            trials=trials,
            screen=screen,
            cost_limit=max_cost * planned_flop(recipe, dataset),
            storage=storage,
            seed=seed,
        )

    def base(self) -> Recipe:
        """The recipe where the search starts."""
        return Recipe.parse(self.recipe, "the recipe of the search")

    def dimensions(self) -> Space:
        """What is varied."""
        return parse_space(self.space, "the space of the search", self.base())

    def first(self) -> list[dict[str, Any]]:
        """The points to try before the sampler goes by what it has seen."""
        space = self.dimensions()
        return first_points(space, min(_FIRST_TRIALS, 2 * len(space)), self.seed)


@dataclass(frozen=True)
class Tuning:
    """The directory of a search."""

    path: Path

    @classmethod
    def begin(cls, path: Path, plan: Plan) -> "Tuning":
        """Make the directory, and a study whose first trial is the recipe itself.

        It is left out where it does not lie in the space.

        Raises:
            InputError: the directory is not empty, or the driver of the database is missing.
            JobError: the storage cannot be reached.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} is not empty; choose another directory, or --resume {path}")
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "tuning.json", asdict(plan))
        tuning = cls(path)
        try:
            study = tuning.study()
        except ThumbnetError:
            # What cannot be begun leaves nothing behind.
            shutil.rmtree(path)
            raise
        if start := starting_point(plan.dimensions(), plan.base()):
            study.enqueue_trial(start)
        return tuning

    def plan(self) -> Plan:
        """What it is about.

        Raises:
            InputError: the directory is none of a search.
        """
        file = self.path / "tuning.json"
        if not file.is_file():
            raise InputError(f"{self.path} is no directory of a search: it holds no {file.name}")
        try:
            values = json.loads(read_bounded_text(file))
            return Plan(**values | {"objectives": tuple(values["objectives"])})
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{file} is damaged: {error}; begin the search anew") from error

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
        """The study in its storage, made if it is not there.

        Raises:
            InputError: the driver of the database is missing.
            JobError: the storage cannot be reached.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        plan = self.plan()
        try:
            return optuna.create_study(
                study_name=plan.name,
                storage=_storage(plan.storage, self.path),
                directions=[_DIRECTIONS[objective] for objective in plan.objectives],
                sampler=_sampler(plan, self.path),
                pruner=optuna.pruners.PercentilePruner(
                    _KEPT_PERCENT,
                    n_startup_trials=_COMPARED_TRIALS,
                    n_warmup_steps=_FIRST_PRUNED_QUARTER,
                ),
                load_if_exists=True,
            )
        except ImportError as error:
            raise InputError(
                "the driver of the database in --storage is not installed; for PostgreSQL: "
                f"{install_command('postgresql')}"
            ) from error
        except Exception as error:  # each database raises kinds of its own
            raise JobError(f"the study of {self.path} cannot be opened: {error}") from error


def seconds_spent(study: "optuna.Study") -> float:
    """For how long at least one trial was under way; a lost one, until its last sign of life."""
    now = datetime.now()
    spans = sorted(
        (trial.datetime_start, _last_sign(trial) or trial.datetime_complete or now)
        for trial in study.get_trials(deepcopy=False)
        if trial.datetime_start is not None
    )
    total, reached = 0.0, datetime.min
    for start, end in spans:
        total += max(0.0, (end - max(start, reached)).total_seconds()) if end > reached else 0.0
        reached = max(reached, end)
    return total


def _last_sign(trial: "optuna.trial.FrozenTrial") -> datetime | None:
    text = trial.user_attrs.get(LAST_SIGN)
    return datetime.fromisoformat(text) if text else None


def _storage(url: str, path: Path) -> Any:
    if url:
        return url
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path / "journal.log")))


def _sampler(plan: Plan, path: Path) -> "optuna.samplers.BaseSampler":
    import optuna

    # Several workers with one seed would all try the same first trials.
    others = len(list((path / "workers").glob("*.lock"))) if (path / "workers").is_dir() else 0
    first = len(plan.first())
    return optuna.samplers.TPESampler(seed=plan.seed + others, n_startup_trials=first)
