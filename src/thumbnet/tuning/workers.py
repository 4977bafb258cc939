"""What workers on one study agree upon: who lives, and which trials come before new ones."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from thumbnet.runs.run import Run
from thumbnet.tuning.study import LAST_SIGN, Tuning

if TYPE_CHECKING:
    import optuna

# A worker writes its name into its trial right after it got it; until then nobody else takes it.
_NAMELESS_SECONDS = 60
# Of those tried in short, one of so many is trained in full.
_ONE_OF = 4
# What a trial is noted to be: the accuracy that it reached in short; in full, the number of the one
# in short before it; taken up, the number whose directory it goes on in; of the first points,
# which of them.
SCREENED, PROMOTES, GOES_ON_WITH = "screened", "promotes", "goes_on_with"
_FIRST = "first"


@contextmanager
def working(path: Path) -> Iterator[str]:
    """Hold a lock that tells the others that this worker lives: its name."""
    name = uuid.uuid4().hex[:12]
    (path / "workers").mkdir(exist_ok=True)
    with FileLock(path / "workers" / f"{name}.lock"):
        yield name


def queue_trials(tuning: Tuning, study: "optuna.Study") -> None:
    """Queue what comes before new trials.

    Lost ones, the best of those tried in short, and, where nothing else waits, the next of the
    first points.
    """
    # One worker at a time: two would each queue the same.
    with FileLock(tuning.path / "queue.lock"):
        _queue_lost(tuning, study)
        _queue_promoted(study)
        _queue_first(tuning, study)


def _queue_lost(tuning: Tuning, study: "optuna.Study") -> None:
    """Give the parameters of each trial whose worker has gone to whoever asks next."""
    import optuna
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if _is_alive(tuning.path, trial):
            continue
        attributes = trial.user_attrs
        place = attributes.get(GOES_ON_WITH, trial.number)
        # Else the budget would count the time until somebody came.
        live = optuna.Trial(study, trial._trial_id)
        live.set_user_attr(LAST_SIGN, _last_sign(tuning.trial_run(place), trial).isoformat())
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            kept = {key: attributes[key] for key in (PROMOTES,) if key in attributes}
            study.enqueue_trial(trial.params, user_attrs=kept | {GOES_ON_WITH: place})


def _queue_promoted(study: "optuna.Study") -> None:
    """Have the best quarter of what was tried in short trained in full.

    Whenever one more has come among them, as in asynchronous successive halving (Li et al. 2020,
    arXiv 1810.05934), so that no worker waits for another.
    """
    trials = study.get_trials(deepcopy=False)
    promoted = {trial.user_attrs.get(PROMOTES) for trial in trials}
    screened = [trial for trial in trials if SCREENED in trial.user_attrs]
    screened.sort(key=lambda trial: -trial.user_attrs[SCREENED])
    for trial in screened[: len(screened) // _ONE_OF]:
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


def _last_sign(run: Run, trial: "optuna.trial.FrozenTrial") -> datetime:
    begun = trial.datetime_start or datetime.now()
    files = [path for path in run.path.rglob("*") if path.is_file()]
    written = [datetime.fromtimestamp(path.stat().st_mtime) for path in files]
    return max([begun, *written])


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
