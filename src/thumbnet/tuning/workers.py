"""Coordination of the workers on one study: which are alive, and which trials are queued."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from thumbnet.locking import acquire_lock, locked
from thumbnet.tuning.study import ABANDONED, Tuning

if TYPE_CHECKING:
    import optuna

# A worker writes its name into a trial right after it gets it. A trial without a name counts as
# alive for this long.
_NAMELESS_SECONDS = 60
# One in this many screened trials is trained in full.
_PROMOTED_ONE_IN = 4
# User attributes of a trial, spelled as in existing journals:
SCREENED = "screened"  # the accuracy that a screened trial reached
PROMOTES = "promotes"  # of a trial on all images: the number of its screened trial
CONTINUES = "goes_on_with"  # number of the abandoned trial whose run directory it continues
OVER_BUDGET = "too_dear"  # set if the trial costs more than the limit
_FIRST = "first"  # index of the space-filling point


@contextmanager
def working(path: Path) -> Iterator[str]:
    """Hold a lock that shows the others that this worker is alive; yields the worker's name."""
    name = uuid.uuid4().hex[:12]
    (path / "workers").mkdir(exist_ok=True)
    with locked(path / "workers" / f"{name}.lock"):
        yield name


def queue_trials(tuning: Tuning, study: "optuna.Study") -> None:
    """Queue the trials that take precedence over new ones.

    These are abandoned trials, the best screened trials, and, if no other trial is waiting, the
    next space-filling point.
    """
    # One worker at a time; two would queue the same trials.
    with locked(tuning.path / "queue.lock"):
        _queue_abandoned(tuning, study)
        _queue_promoted(study)
        _queue_first(tuning, study)


def _queue_abandoned(tuning: Tuning, study: "optuna.Study") -> None:
    """Queue the parameters of each trial whose worker has died."""
    import optuna
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if _is_alive(tuning.path, trial):
            continue
        attributes = trial.user_attrs
        number = attributes.get(CONTINUES, trial.number)
        optuna.Trial(study, trial._trial_id).set_user_attr(ABANDONED, True)
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            kept = {key: attributes[key] for key in (PROMOTES,) if key in attributes}
            study.enqueue_trial(trial.params, user_attrs=kept | {CONTINUES: number})


def _queue_promoted(study: "optuna.Study") -> None:
    """Queue the best quarter of the screened trials for training on all images.

    As in asynchronous successive halving (Li et al. 2020, arXiv 1810.05934), a trial is promoted as
    soon as it is in the best quarter so far, so that no worker waits for another.
    """
    trials = study.get_trials(deepcopy=False)
    promoted = {trial.user_attrs.get(PROMOTES) for trial in trials}
    screened = [trial for trial in trials if SCREENED in trial.user_attrs]
    screened.sort(key=lambda trial: -trial.user_attrs[SCREENED])
    for trial in screened[: len(screened) // _PROMOTED_ONE_IN]:
        if trial.number not in promoted:
            study.enqueue_trial(trial.params, user_attrs={PROMOTES: trial.number})


def _queue_first(tuning: Tuning, study: "optuna.Study") -> None:
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    queued = sum(_FIRST in trial.user_attrs for trial in trials)
    waiting = any(trial.state == TrialState.WAITING for trial in trials)
    points = tuning.plan().first()
    if queued < len(points) and not waiting:
        study.enqueue_trial(points[queued], user_attrs={_FIRST: queued})


def _is_alive(path: Path, trial: "optuna.trial.FrozenTrial") -> bool:
    worker = trial.user_attrs.get("worker")
    if worker is None:
        started = trial.datetime_start
        if started is None:
            return False
        # The absolute value, as the clock may have been set back since.
        return abs((datetime.now() - started).total_seconds()) < _NAMELESS_SECONDS
    try:
        acquire_lock(path / "workers" / f"{worker}.lock", wait=False).release()
    except Timeout:
        return True
    return False
