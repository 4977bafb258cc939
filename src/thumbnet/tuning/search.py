"""The search loop: workers take trials from one study until the budget is spent.

A trial is a run directory whose training stops before the test images are read, so it only sees the
validation split. `thumbnet train --resume` finishes any of them. A worker holds a lock while it
runs; a trial whose worker has died is resumed from its last checkpoint.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thumbnet.data.dataset import Dataset
from thumbnet.errors import (
    JobError,
    JobInterruptedError,
    StorageError,
    ThumbnetError,
)
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.training.batches import Batches
from thumbnet.training.cost import planned_flop, planned_flop_by_epochs
from thumbnet.training.progress import Display, SilentDisplay, minutes
from thumbnet.training.session import fit, new_training, reopened_training
from thumbnet.training.state import TrainingState
from thumbnet.tuning.study import SPENT, Plan, SearchClock, Tuning
from thumbnet.tuning.workers import (
    CONTINUES,
    OVER_BUDGET,
    PROMOTES,
    SCREENED,
    queue_trials,
    working,
)

if TYPE_CHECKING:
    import optuna

# The search ends after this many trials in a row that are over budget.
_MOST_OVER_BUDGET = 50


def search(tuning: Tuning, dataset: Dataset, display: Display) -> None:
    """Run trials as one worker, possibly alongside others, until the budget is spent.

    Raises:
        JobInterruptedError: after Ctrl-C; the next worker resumes the current trial.
        InputError, JobError: the study or its recipe cannot be used, or its storage failed.
    """
    from optuna.exceptions import StorageInternalError

    plan, study = tuning.plan(), tuning.study()
    # Each trial traces a new model, which TensorFlow's warnings take for needless retracing.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        with working(tuning.path) as name:
            worker = _Worker(name, tuning, plan, study, dataset, display, SearchClock(study))
            # Running workers, not only new ones, queue the trials of workers that have died.
            queue_trials(tuning, study)
            while (why := worker.reason_to_stop()) is None:
                worker.run_trial()
                queue_trials(tuning, study)
            display.message(f"the search has ended: {why}")
    except StorageInternalError as error:
        raise JobError(
            f"the storage of the search failed: {error}; once it works again, continue with "
            f"{tuning.resume_command}"
        ) from error
    except StorageError as error:
        raise StorageError(
            f"{error}; once there is room, continue with {tuning.resume_command}"
        ) from error
    except (JobInterruptedError, KeyboardInterrupt) as error:
        raise JobInterruptedError(f"interrupted; continue with {tuning.resume_command}") from error


class _TrialDisplay(SilentDisplay):
    """Shows a trial under its title, and the state of the search next to it."""

    def __init__(self, title: str, display: Display, standing: Callable[[], str]) -> None:
        self._title, self._display, self._standing = title, display, standing

    @contextmanager
    def training(self, recipe: Recipe, batches: Batches) -> Iterator[None]:
        titled = recipe.model_copy(update={"name": self._title})
        with self._display.training(titled, batches):
            yield

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        self._display.standing(self._standing())
        self._display.step(step, values, rate, images)


@dataclass(frozen=True, eq=False)
class _Worker:
    """One process that runs trials of a study."""

    name: str
    tuning: Tuning
    plan: Plan
    study: "optuna.Study"
    dataset: Dataset
    display: Display
    clock: SearchClock

    @property
    def _single_objective(self) -> bool:
        return len(self.plan.objectives) == 1

    def run_trial(self) -> None:
        """Take one trial from the study, train it, and report its result to the study."""
        from optuna.trial import TrialState

        self.clock.start()
        trial = self.study.ask()
        trial.set_user_attr("worker", self.name)
        number = trial.user_attrs.get(CONTINUES, trial.number)
        run = self.tuning.trial_run(number)
        trial.set_user_attr("directory", f"trials/{run.path.name}")
        try:
            recipe, flop = self._recipe(trial)
        except ValueError as error:  # InputError, or Optuna's for a space that has changed
            self.display.message(f"trial {trial.number}: {error}")
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        trial.set_user_attr("flop", flop)
        if flop > self.plan.cost_limit:
            trial.set_user_attr(OVER_BUDGET, True)
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        if self._is_screening(trial):
            recipe = recipe.override({"subset": self.plan.screen})
        title = f"trial {trial.number}{' (screening)' if self._is_screening(trial) else ''}"
        try:
            state = self._train(run, recipe, trial, title)
        except (JobInterruptedError, StorageError):
            # On a full disk, the next trial would fail as well; whoever resumes takes this one up.
            raise
        except ThumbnetError as error:
            self.display.message(f"{title}: {error}")
            self.study.tell(trial, state=TrialState.FAIL)
            return
        accuracy = float(state.history[-1]["validation_accuracy"])
        self._report(trial, accuracy, flop, done=bool(state.stopped))
        pruned = "" if state.stopped else ", pruned"
        self.display.message(
            f"{title}: validation {accuracy:.2%}, {flop / 1e12:.3g} TFLOP{pruned}; "
            f"{self._standing()()}"
        )

    def _is_screening(self, trial: "optuna.Trial") -> bool:
        return bool(self.plan.screen) and PROMOTES not in trial.user_attrs

    def _report(self, trial: "optuna.Trial", accuracy: float, flop: int, done: bool) -> None:
        """Report the result of a trial to the study."""
        from optuna.trial import TrialState

        if not done:
            self.study.tell(trial, state=TrialState.PRUNED)
        elif self._is_screening(trial):
            # Reported at step 0: the sampler ranks it below every trial on all images.
            trial.report(accuracy, 0)
            trial.set_user_attr(SCREENED, accuracy)
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            values = {"accuracy": accuracy, "cost": float(flop)}
            self.study.tell(trial, [values[objective] for objective in self.plan.objectives])

    def _train(self, run: Run, recipe: Recipe, trial: "optuna.Trial", title: str) -> TrainingState:
        """Train a trial until it is done or pruned; the test images are not read.

        Only trials on all images are compared for pruning.
        """
        import keras

        from thumbnet.tuning.pruning import Pruning

        compared = self._single_objective and not self._is_screening(trial)
        watch = Pruning(
            recipe.epochs,
            lambda: trial.set_user_attr(SPENT, self.clock.seconds()),
            trial.report if compared else lambda accuracy, quarter: None,
            lambda: self._is_out_of_time() or (compared and trial.should_prune()),
        )
        display = _TrialDisplay(title, self.display, self._standing())
        begun = (
            new_training(run.path, recipe, self.dataset, display)
            if Run.is_free(run.path)
            else reopened_training(run, self.dataset, display)
        )
        try:
            with begun as training:
                fit(training, display, pausing=[watch])
                return training.state
        finally:
            keras.utils.clear_session()

    def _recipe(self, trial: "optuna.Trial") -> tuple[Recipe, int]:
        """The recipe of a trial, and the FLOP of its training.

        More epochs hardly ever reduce accuracy. With accuracy as the only objective, epochs are
        therefore not sampled: a trial gets as many of those in the space as its cost limit allows,
        so that all trials are compared at nearly equal cost.

        Raises:
            InputError: the combination of values is invalid.
        """
        searched = dict(self.plan.dimensions())
        epochs = searched.pop("epochs", None) if self._single_objective else None
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
        """A function that returns the state of the search in a few words."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        parts = [f"{len(finished)} finished"]
        if finished:
            best = max(finished, key=lambda trial: trial.values[0])
            parts.insert(0, f"best {best.values[0]:.2%} in trial {best.number}")
        if self.plan.trials:
            parts.append(f"{max(0, self.plan.trials - _tried(self.study))} to go")
        if not self.plan.budget_seconds:
            return lambda: ", ".join(parts)
        end = time.monotonic() + self.plan.budget_seconds - self.clock.seconds()
        return lambda: ", ".join([*parts, f"{minutes(max(0, end - time.monotonic()))} left"])

    def reason_to_stop(self) -> str | None:
        """Why the search ends; None if it continues."""
        plan, study = self.plan, self.study
        if plan.trials and _tried(study) >= plan.trials:
            return f"all {plan.trials} trials are done"
        latest = study.get_trials(deepcopy=False)[-_MOST_OVER_BUDGET:]
        if len(latest) == _MOST_OVER_BUDGET and all(_over_budget(trial) for trial in latest):
            return f"the last {len(latest)} trials all cost more than --max-cost allows"
        if self._is_out_of_time():
            return f"the budget of {plan.budget_seconds:.0f} s is spent"
        return None

    def _is_out_of_time(self) -> bool:
        return bool(self.plan.budget_seconds) and self.clock.seconds() >= self.plan.budget_seconds


def _tried(study: "optuna.Study") -> int:
    """Number of trials that were started, except those over budget and the abandoned ones."""
    from optuna.trial import TrialState

    states = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=states)
    return sum(not _over_budget(trial) for trial in trials)


def _over_budget(trial: "optuna.trial.FrozenTrial") -> bool:
    return OVER_BUDGET in trial.user_attrs
