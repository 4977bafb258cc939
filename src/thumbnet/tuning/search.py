"""The search itself: workers that take trials from one study until the budget is spent.

A trial is a run directory that was stopped before the test images are read: it sees the validation
split alone. `thumbnet train --resume` finishes any of them. A worker holds a lock as long as it
lives; a trial whose worker has gone is taken up again, from its last checkpoint.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobError, JobInterruptedError, ThumbnetError
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.training import resume, train
from thumbnet.training.batches import Batches
from thumbnet.training.cost import planned_flop, planned_flop_by_epochs
from thumbnet.training.progress import Display, SilentDisplay, minutes
from thumbnet.tuning.study import QUARTERS, Plan, Tuning, seconds_spent
from thumbnet.tuning.workers import GOES_ON_WITH, PROMOTES, SCREENED, queue_trials, working

if TYPE_CHECKING:
    import optuna

# So many that are too dear in a row: there is nothing to be found.
_HOPELESS_DRAWS = 50


def search(tuning: Tuning, dataset: Dataset, display: Display) -> None:
    """Try out trials, as one worker of possibly many, until the budget is spent.

    Raises:
        JobInterruptedError: by Ctrl-C; what was begun is taken up by whoever goes on.
        InputError, JobError: the study or its recipe cannot be used, or its storage is gone.
    """
    from optuna.exceptions import StorageInternalError

    plan, study = tuning.plan(), tuning.study()
    # Each trial has a model of its own, and TensorFlow warns as if one were traced over and over.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        with working(tuning.path) as name:
            worker = _Worker(name, tuning, plan, study, dataset, display)
            # Whoever is at work, not only who comes next, takes up what a killed one has left.
            queue_trials(tuning, study)
            while (why := _spent(plan, study)) is None:
                worker.try_one()
                queue_trials(tuning, study)
            display.message(f"the search is over: {why}")
    except StorageInternalError as error:
        raise JobError(
            f"the storage of the search failed: {error}; once it is back, go on with "
            f"`thumbnet tune --resume {tuning.path}`"
        ) from error


class _Stopped(Exception):  # noqa: N818
    """A trial is over; not an error, and never seen outside."""


class _TrialDisplay(SilentDisplay):
    """Shows a trial, and stops its training where it is hopeless, late or done.

    `report` is told of the validation accuracy at every quarter.
    """

    def __init__(
        self,
        title: str,
        recipe: Recipe,
        display: Display,
        standing: Callable[[], str],
        report: Callable[[float, int], None],
        hopeless: Callable[[], bool],
    ) -> None:
        self.title, self._recipe, self._display = title, recipe, display
        self._standing, self._report, self._hopeless = standing, report, hopeless
        self.accuracy = 0.0
        self.done = False

    @contextmanager
    def training(self, recipe: Recipe, batches: Batches) -> Iterator[None]:
        titled = recipe.model_copy(update={"name": self.title})
        with self._display.training(titled, batches):
            yield

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        self._display.standing(self._standing())
        self._display.step(step, values, rate, images)

    def epoch(self, row: Mapping[str, float]) -> None:
        epoch, self.accuracy = int(row["epoch"]), row["validation_accuracy"]
        if epoch == self._recipe.epochs:
            # Before the test images are read.
            self.done = True
            raise _Stopped
        # Trials differ in epochs, so they are compared at quarters of their way.
        quarter, before = (QUARTERS * each // self._recipe.epochs for each in (epoch, epoch - 1))
        if quarter > before:
            self._report(self.accuracy, quarter)
        if self._hopeless():
            raise _Stopped


@dataclass(frozen=True, eq=False)
class _Worker:
    """One process at work on a study."""

    name: str
    tuning: Tuning
    plan: Plan
    study: "optuna.Study"
    dataset: Dataset
    display: Display

    @property
    def _accuracy_alone(self) -> bool:
        return len(self.plan.objectives) == 1

    def try_one(self) -> None:
        """Take one trial from the study, train it, and tell how it went."""
        from optuna.trial import TrialState

        trial = self.study.ask()
        trial.set_user_attr("worker", self.name)
        place = trial.user_attrs.get(GOES_ON_WITH, trial.number)
        run = self.tuning.trial_run(place)
        trial.set_user_attr("directory", f"trials/{run.path.name}")
        try:
            recipe, flop = self._recipe(trial)
        except InputError as error:
            self.display.message(f"trial {trial.number}: {error}")
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        trial.set_user_attr("flop", flop)
        if flop > self.plan.cost_limit:
            trial.set_user_attr("too_dear", True)
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        if self._in_short(trial):
            recipe = recipe.override({"subset": self.plan.screen})
        watch = self._watch(trial, recipe)
        try:
            self._train(run, recipe, watch)
        except JobInterruptedError:
            raise
        except ThumbnetError as error:
            self.display.message(f"{watch.title}: {error}")
            self.study.tell(trial, state=TrialState.FAIL)
            return
        self._tell(trial, watch, flop)
        given_up = "" if watch.done else ", given up"
        self.display.message(
            f"{watch.title}: validation {watch.accuracy:.2%}, {flop / 1e12:.3g} TFLOP{given_up}; "
            f"{self._standing()()}"
        )

    def _in_short(self, trial: "optuna.Trial") -> bool:
        return bool(self.plan.screen) and PROMOTES not in trial.user_attrs

    def _watch(self, trial: "optuna.Trial", recipe: Recipe) -> _TrialDisplay:
        """What shows a trial, and ends it; only those in full are compared on their way."""
        short = self._in_short(trial)
        compared = self._accuracy_alone and not short
        return _TrialDisplay(
            f"trial {trial.number}{' in short' if short else ''}",
            recipe,
            self.display,
            self._standing(),
            trial.report if compared else lambda accuracy, quarter: None,
            lambda: _late(self.plan, self.study) or (compared and trial.should_prune()),
        )

    def _tell(self, trial: "optuna.Trial", watch: _TrialDisplay, flop: int) -> None:
        """Tell the study how a trial went."""
        from optuna.trial import TrialState

        if not watch.done:
            self.study.tell(trial, state=TrialState.PRUNED)
        elif self._in_short(trial):
            # For the sampler, a trial that came less far than any that was trained in full.
            trial.report(watch.accuracy, 0)
            trial.set_user_attr(SCREENED, watch.accuracy)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            values = {"accuracy": watch.accuracy, "cost": float(flop)}
            self.study.tell(trial, [values[objective] for objective in self.plan.objectives])

    def _train(self, run: Run, recipe: Recipe, watch: _TrialDisplay) -> None:
        import keras

        try:
            if Run.is_free(run.path):
                train(recipe, self.dataset, run.path, watch)
            else:
                resume(run, self.dataset, watch)
        except _Stopped:
            pass
        finally:
            keras.utils.clear_session()

    def _recipe(self, trial: "optuna.Trial") -> tuple[Recipe, int]:
        """What a trial is to train, and the FLOP it takes.

        Where accuracy alone counts, more epochs are hardly ever worse. They are not searched then:
        a trial has as many, of those in the space, as the cost allows, so that all are compared
        at nearly equal cost.

        Raises:
            InputError: the values do not go together.
        """
        searched = dict(self.plan.dimensions())
        epochs = searched.pop("epochs", None) if self._accuracy_alone else None
        recipe = self.plan.base().override(
            {key: dimension.suggest(trial, key) for key, dimension in searched.items()}
        )
        if epochs is None:
            return recipe, planned_flop(recipe, self.dataset)
        choices = sorted(epochs.all())
        longest = recipe.override({"epochs": choices[-1]})
        flop = planned_flop_by_epochs(longest, self.dataset, choices)
        most = max(
            (each for each in choices if flop[each] <= self.plan.cost_limit), default=choices[0]
        )
        return longest.override({"epochs": most}), flop[most]

    def _standing(self) -> Callable[[], str]:
        """What tells, at any later moment of a trial, how the search stands."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        parts = [f"{len(finished)} finished"]
        if finished:
            best = max(finished, key=lambda trial: trial.values[0])
            parts.insert(0, f"best {best.values[0]:.2%} in trial {best.number}")
        if self.plan.trials:
            parts.append(f"{max(0, self.plan.trials - _tried(self.study))} to begin")
        if not self.plan.budget_seconds:
            return lambda: ", ".join(parts)
        end = time.monotonic() + self.plan.budget_seconds - seconds_spent(self.study)
        return lambda: ", ".join([*parts, f"{minutes(max(0, end - time.monotonic()))} left"])


def _spent(plan: Plan, study: "optuna.Study") -> str | None:
    """Why nothing more is to be tried; None while something is."""
    if plan.trials and _tried(study) >= plan.trials:
        return f"{plan.trials} trials were made"
    draws = study.get_trials(deepcopy=False)[-_HOPELESS_DRAWS:]
    if len(draws) == _HOPELESS_DRAWS and all(_too_dear(trial) for trial in draws):
        return f"the last {len(draws)} trials were all dearer than --max-cost allows"
    if _late(plan, study):
        return f"{plan.budget_seconds:.0f} s were spent"
    return None


def _tried(study: "optuna.Study") -> int:
    """Trials that were begun, but for those that were too dear, and those that were lost."""
    from optuna.trial import TrialState

    states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=states)
    return sum(not _too_dear(trial) for trial in trials)


def _too_dear(trial: "optuna.trial.FrozenTrial") -> bool:
    return "too_dear" in trial.user_attrs


def _late(plan: Plan, study: "optuna.Study") -> bool:
    return bool(plan.budget_seconds) and seconds_spent(study) >= plan.budget_seconds
