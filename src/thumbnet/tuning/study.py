"""The search itself: workers that take trials from one study until the budget is spent.

A trial is a run directory that was stopped before the test images are read: it sees the validation
split alone. `thumbnet train --resume` finishes any of them. A worker holds a lock as long as it
lives; a trial whose worker has gone is taken up again, from its last checkpoint.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout

from thumbnet.atomic import write_json
from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobError, JobInterruptedError, ThumbnetError
from thumbnet.progress import Display, SilentDisplay
from thumbnet.recipe import Recipe
from thumbnet.records import read_bounded_text
from thumbnet.run import Run
from thumbnet.training import planned_flop, resume, train
from thumbnet.tuning.space import Space, parse_space

if TYPE_CHECKING:
    import optuna

QUARTERS = 4
_STARTUP_TRIALS = 6
# A worker writes its name into its trial right after it got it; until then nobody else takes it.
_NAMELESS_SECONDS = 60
_NAME = "thumbnet"
_DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "accuracy": "maximize",
    "cost": "minimize",
}


@dataclass(frozen=True)
class Plan:
    """What a study is about; `tuning.json` in its directory.

    Attributes:
        recipe: where the search starts, as TOML text.
        space: what is varied, as TOML text.
        data: of the images, as a run's `environment.json` has it.
        objectives: "accuracy", or "accuracy" and "cost".
        budget_seconds: how long something is tried, over all sittings; 0 for no bound.
        trials: how many are tried; 0 for no bound.
        cost_limit: the FLOP of a training; what would take more is not tried.
        storage: a database URL; empty for the journal in the directory.
        seed: of the sampler.
    """

    recipe: str
    space: str
    data: dict[str, Any]
    objectives: tuple[str, ...]
    budget_seconds: float
    trials: int
    cost_limit: float
    storage: str
    seed: int


@dataclass(frozen=True)
class Tuning:
    """The directory of a search."""

    path: Path

    @classmethod
    def begin(cls, path: Path, plan: Plan) -> "Tuning":
        """Make the directory.

        Raises:
            InputError: it is not empty.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise InputError(f"{path} is not empty; choose another directory, or --resume {path}")
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "tuning.json", asdict(plan))
        return cls(path)

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

    def trial_run(self, number: int) -> Run:
        """The run directory of a trial."""
        return Run(self.path / "trials" / f"{number:04d}")

    def study(self) -> "optuna.Study":
        """The study in its storage, made if it is not there.

        Raises:
            JobError: the storage cannot be reached.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        plan = self.plan()
        try:
            return optuna.create_study(
                study_name=_NAME if not plan.storage else f"{_NAME}-{self.path.resolve().name}",
                storage=_storage(plan.storage, self.path),
                directions=[_DIRECTIONS[objective] for objective in plan.objectives],
                sampler=_sampler(plan, self.path),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS),
                load_if_exists=True,
            )
        except Exception as error:  # each database raises kinds of its own
            raise JobError(f"the study of {self.path} cannot be opened: {error}") from error


def search(tuning: Tuning, dataset: Dataset, display: Display) -> None:
    """Try out trials, as one worker of possibly many, until the budget is spent.

    Raises:
        JobInterruptedError: by Ctrl-C; what was begun is taken up by whoever goes on.
        InputError, JobError: the study or its recipe cannot be used.
    """
    plan, study = tuning.plan(), tuning.study()
    base = Recipe.parse(plan.recipe, "the recipe of the search")
    space = parse_space(plan.space, "the space of the search", base)
    with _working(tuning.path) as worker:
        _take_up_what_was_lost(tuning, study)
        while (why := _spent(plan, study)) is None:
            _try_one(tuning, plan, study, base, space, dataset, display, worker)
        display.message(f"the search is over: {why}")


class _Stopped(Exception):  # noqa: N818
    """A trial is over; not an error, and never seen outside."""


class _TrialDisplay(SilentDisplay):
    """Hears of each epoch, and stops the training where the trial is hopeless, late or done."""

    def __init__(self, trial: "optuna.Trial", recipe: Recipe, hopeless: Callable[[], bool]) -> None:
        self._trial, self._recipe, self._hopeless = trial, recipe, hopeless
        self.accuracies: list[float] = []

    @property
    def done(self) -> bool:
        return len(self.accuracies) == self._recipe.epochs

    def epoch(self, row: Mapping[str, float]) -> None:
        epoch = int(row["epoch"])
        self.accuracies.append(row["validation_accuracy"])
        if epoch == self._recipe.epochs:
            # Before the test images are read.
            self.accuracies = [row["validation_accuracy"]] * epoch
            raise _Stopped
        # Trials differ in epochs, so they are compared at quarters of their way.
        quarter = QUARTERS * epoch // self._recipe.epochs
        if quarter and len(self._trial.study.directions) == 1:
            self._trial.report(row["validation_accuracy"], quarter)
        if self._hopeless():
            raise _Stopped


def _try_one(
    tuning: Tuning,
    plan: Plan,
    study: "optuna.Study",
    base: Recipe,
    space: Space,
    dataset: Dataset,
    display: Display,
    worker: str,
) -> None:
    from optuna.trial import TrialState

    trial = study.ask()
    trial.set_user_attr("worker", worker)
    place = trial.user_attrs.get("goes_on_with", trial.number)
    trial.set_user_attr("directory", tuning.trial_run(place).path.name)
    settings = {key: dimension.suggest(trial, key) for key, dimension in space.items()}
    title = f"trial {trial.number}"
    try:
        recipe = base.override(settings)
        flop = planned_flop(recipe, dataset)
    except InputError as error:
        display.message(f"{title}: {error}")
        study.tell(trial, state=TrialState.PRUNED)
        return
    trial.set_user_attr("flop", flop)
    if flop > plan.cost_limit:
        trial.set_user_attr("too_dear", True)
        study.tell(trial, state=TrialState.PRUNED)
        return
    single = len(plan.objectives) == 1
    watch = _TrialDisplay(
        trial, recipe, lambda: _late(plan, study) or (single and trial.should_prune())
    )
    run = tuning.trial_run(place)
    try:
        if Run.is_free(run.path):
            train(recipe, dataset, run.path, watch)
        else:
            resume(run, dataset, watch)
    except _Stopped:
        pass
    except JobInterruptedError:
        raise
    except ThumbnetError as error:
        display.message(f"{title}: {error}")
        study.tell(trial, state=TrialState.FAIL)
        return
    finally:
        _forget_models()
    accuracy = watch.accuracies[-1]
    if watch.done:
        values = {"accuracy": accuracy, "cost": float(flop)}
        study.tell(trial, [values[objective] for objective in plan.objectives])
        note = ""
    else:
        study.tell(trial, state=TrialState.PRUNED)
        note = ", given up"
    display.message(f"{title}: validation {accuracy:.2%}, {flop / 1e12:.2f} TFLOP{note}")


def _take_up_what_was_lost(tuning: Tuning, study: "optuna.Study") -> None:
    """Give the parameters of each trial whose worker has gone to whoever asks next."""
    from optuna.trial import TrialState

    # One at a time: two would each take up the same.
    with FileLock(tuning.path / "taking_up.lock"):
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            if _is_alive(tuning.path, trial):
                continue
            study.tell(trial.number, state=TrialState.FAIL)
            place = trial.user_attrs.get("goes_on_with", trial.number)
            if trial.params:
                study.enqueue_trial(trial.params, user_attrs={"goes_on_with": place})


def _is_alive(path: Path, trial: "optuna.trial.FrozenTrial") -> bool:
    worker = trial.user_attrs.get("worker")
    if worker is None:
        started = trial.datetime_start
        return (
            started is not None and (datetime.now() - started).total_seconds() < _NAMELESS_SECONDS
        )
    lock = FileLock(path / "workers" / f"{worker}.lock")
    try:
        with lock.acquire(timeout=0):
            return False
    except Timeout:
        return True


@contextmanager
def _working(path: Path) -> Iterator[str]:
    """Hold a lock that tells the others that this worker lives: its name."""
    name = uuid.uuid4().hex[:12]
    (path / "workers").mkdir(exist_ok=True)
    with FileLock(path / "workers" / f"{name}.lock"):
        yield name


def _spent(plan: Plan, study: "optuna.Study") -> str | None:
    """Why nothing more is to be tried; None while something is."""
    if plan.trials and _tried(study) >= plan.trials:
        return f"{plan.trials} trials were made"
    if _late(plan, study):
        return f"{plan.budget_seconds:.0f} s were spent"
    return None


def _tried(study: "optuna.Study") -> int:
    """Trials that were begun, but for those that were too dear, and those that were lost."""
    from optuna.trial import TrialState

    states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=states)
    return sum(not trial.user_attrs.get("too_dear") for trial in trials)


def _late(plan: Plan, study: "optuna.Study") -> bool:
    return bool(plan.budget_seconds) and seconds_spent(study) >= plan.budget_seconds


def seconds_spent(study: "optuna.Study") -> float:
    """For how long at least one trial was under way."""
    now = datetime.now()
    spans = sorted(
        (trial.datetime_start, trial.datetime_complete or now)
        for trial in study.get_trials(deepcopy=False)
        if trial.datetime_start is not None
    )
    total, reached = 0.0, datetime.min
    for start, end in spans:
        total += max(0.0, (end - max(start, reached)).total_seconds()) if end > reached else 0.0
        reached = max(reached, end)
    return total


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
    return optuna.samplers.TPESampler(seed=plan.seed + others, n_startup_trials=_STARTUP_TRIALS)


def _forget_models() -> None:
    import keras

    keras.utils.clear_session()
