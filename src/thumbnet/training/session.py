"""Starts or reopens a run, locks it against other processes, and trains it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.atomic import remove_leftovers
from thumbnet.data.dataset import Dataset
from thumbnet.data.known import remember_place
from thumbnet.errors import JobError, JobInterruptedError
from thumbnet.machine import describe_host
from thumbnet.parallel.processes import SINGLE_PROCESS, Processes
from thumbnet.recipe import Recipe
from thumbnet.runs.records import FORMAT_VERSION, DataRecord, Environment
from thumbnet.runs.run import Run
from thumbnet.runtime import is_out_of_memory
from thumbnet.training.checkpoints import set_weights
from thumbnet.training.loop import Training, run_epochs
from thumbnet.training.own import NOTHING, Own
from thumbnet.training.prepare import Prepared, prepare, resolve_precision
from thumbnet.training.progress import Display
from thumbnet.training.state import Clock, restore_snapshot

if TYPE_CHECKING:
    import keras


@contextmanager
def new_training(
    path: Path,
    recipe: Recipe,
    dataset: Dataset,
    display: Display,
    processes: Processes = SINGLE_PROCESS,
    own: Own = NOTHING,
) -> Iterator[Training]:
    """Start a run, and lock it against other processes.

    A `JobError` of the body, or an interruption of it, gets the command that resumes the run.

    Raises:
        InputError: the recipe or the images cannot be used; no directory is left behind.
        JobError: the directory cannot be written, or another process is training this run.
    """
    recipe = resolve_precision(recipe)
    Run.require_free(path)
    prepared = prepare(recipe, dataset, display, processes, own)
    run = Run(path)
    if dataset.path is not None:
        remember_place(dataset.path)
    with run.lock():
        run.begin(recipe, _environment(recipe, dataset, processes, own))
        with _resume_hint(run):
            yield _training(run, recipe, prepared, processes)


@contextmanager
def reopened_training(
    run: Run,
    dataset: Dataset,
    display: Display,
    settings: Mapping[str, Any] | None = None,
    processes: Processes = SINGLE_PROCESS,
    own: Own = NOTHING,
) -> Iterator[Training]:
    """Restore a run from its last checkpoint, and lock it against other processes.

    A `JobError` of the body, or an interruption of it, gets the command that resumes the run.

    Raises:
        InputError: a setting cannot be used, or no checkpoint is intact.
        JobError: another process is training this run.
    """
    with run.lock(), _resume_hint(run):
        recipe = run.recipe()
        if settings:
            recipe = recipe.override(settings)
            run.change_recipe(recipe, settings)
        for directory in (run.path, run.checkpoints_path, run.figures_path):
            remove_leftovers(directory)
        prepared = prepare(recipe, dataset, display, processes, own)
        yield _training(run, recipe, prepared, processes)


def fit(
    training: Training,
    display: Display,
    callbacks: "Sequence[keras.callbacks.Callback]" = (),
    pausing: "Sequence[keras.callbacks.Callback]" = (),
) -> None:
    """Train until the run ends or a `pausing` callback stops it; see `callback_list`.

    Raises:
        JobError: it failed or was interrupted.
    """
    from thumbnet.training.callbacks import callback_list

    watching = callback_list(training, display, callbacks, pausing)
    run_epochs(training, watching, display)
    if best := training.snapshot.best_weights:
        set_weights(training.model, best)


@contextmanager
def _resume_hint(run: Run) -> Iterator[None]:
    """Add the command that resumes the run to the message of every failure."""
    resume_hint = f"continue with {run.resume_command}"
    try:
        yield
    except KeyboardInterrupt as error:  # before the first step, after the last, or a second time
        raise JobInterruptedError(f"interrupted; {resume_hint}") from error
    except JobError as error:
        raise type(error)(f"{error}; {resume_hint}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise JobError(
            f"out of memory: close other programs and {resume_hint}, or start again with a smaller "
            "batch_size"
        ) from error


def _training(run: Run, recipe: Recipe, prepared: Prepared, processes: Processes) -> Training:
    images = len(prepared.batches.data)
    snapshot = restore_snapshot(run, recipe, prepared.model, images)
    clock = Clock(snapshot.state.seconds)
    return Training(run, recipe, prepared, snapshot, clock, processes)


def _environment(recipe: Recipe, dataset: Dataset, processes: Processes, own: Own) -> Environment:
    return Environment(
        **dict(describe_host()),
        format_version=FORMAT_VERSION,
        seed=recipe.seed,
        processes=processes.count,
        data=DataRecord(
            name=dataset.name,
            source=dataset.source,
            path=str(dataset.path.resolve()) if dataset.path else None,
            reading=dataset.reading.model_dump(),
            digests=dataset.digests,
            class_names=list(dataset.class_names),
        ),
        own_parts=own.names(),
    )
