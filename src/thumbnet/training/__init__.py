"""From a recipe and a dataset to a run: what is made ready, trained, and left behind."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from thumbnet.atomic import remove_leftovers
from thumbnet.data.dataset import Dataset
from thumbnet.data.known import remember_place
from thumbnet.errors import InputError, JobError, JobInterruptedError
from thumbnet.machine import describe_host, sgemm_gflops
from thumbnet.parallel.processes import SINGLE_PROCESS, Processes
from thumbnet.recipe import Recipe
from thumbnet.runs.model_card import write_model_card
from thumbnet.runs.records import FORMAT_VERSION, DataRecord, Environment, TrainingCost
from thumbnet.runs.run import Run
from thumbnet.runtime import is_out_of_memory
from thumbnet.training.checkpoints import set_weights
from thumbnet.training.cost import flop_of_image, training_flop
from thumbnet.training.loop import (
    Job,
    image_losses_to_begin_with,
    restore_state,
    run_epochs,
)
from thumbnet.training.prepare import Prepared, prepare, resolve_precision
from thumbnet.training.progress import Display, choose_display
from thumbnet.training.results import write_results

# What may be set anew when a run is resumed: it changes the steps to come, not what they mean.
RESUMABLE_SETTINGS = (
    "optimizer.learning_rate",
    "stopping.patience",
    "stopping.budget_seconds",
    "stopping.target_accuracy",
)


def train(
    recipe: Recipe | str | Path,
    dataset: Dataset,
    out: str | Path,
    display: Display | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Run:
    """Train one model and write its run directory.

    Args:
        recipe: a recipe, the name of a shipped one, the path of a file, or "auto" for one that
            `thumbnet.auto.choose_recipe` chooses.
        dataset: the images; its test part is read once, after training. With "auto" its pictures
            may be read again in another size.
        out: a directory that is empty or does not exist.
        display: what shows the progress; by default a live line on a terminal and a plain line
            an epoch elsewhere, on standard error.
        processes: those that train this run together, each of which calls this; `out` comes from
            `Processes.mirrored`.

    Returns:
        The finished run; only of rank 0 does it hold the results.

    Raises:
        InputError: a recipe that cannot be used, or a directory that is not empty.
        JobError: the loss is no longer finite, the disk is full, the memory is not enough,
            another process trains this run, or Ctrl-C was pressed. The run can be resumed.
    """
    display = display or choose_display()
    # What cannot be trained leaves no directory behind.
    Run.require_free(out)
    if recipe == "auto":
        from thumbnet.auto import choose_recipe  # which trains briefly by means of this package

        plan = choose_recipe(dataset, display)
        recipe, dataset = plan.recipe, plan.dataset
    recipe = resolve_precision(recipe if isinstance(recipe, Recipe) else Recipe.read(recipe))
    prepared = prepare(recipe, dataset, display, processes)
    run = Run(Path(out))
    if dataset.path is not None:
        remember_place(dataset.path)
    with run.lock():
        run.begin(
            recipe,
            Environment(
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
            ),
        )
        return _train(run, recipe, dataset, prepared, display, processes)


def resume(
    run: Run | str | Path,
    dataset: Dataset,
    display: Display | None = None,
    settings: Mapping[str, Any] | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Run:
    """Go on with a run that was stopped, from its last checkpoint, as if it had not been.

    Args:
        run: the run; one that is finished is returned as it is.
        dataset: the same images as before.
        display: as in `train`.
        settings: values of the recipe to replace from here on, by their dotted keys; only
            `RESUMABLE_SETTINGS`. They are saved with the run.
        processes: as in `train`; there may be more or fewer than before.

    Raises:
        InputError: the images are others than before, a setting cannot be replaced, or no
            checkpoint is sound.
        JobError: as in `train`.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if fixed := [key for key in settings or {} if key not in RESUMABLE_SETTINGS]:
        raise InputError(
            f"{', '.join(fixed)} cannot be changed when a run is resumed, only "
            f"{', '.join(RESUMABLE_SETTINGS)}; begin anew with --overwrite"
        )
    if run.environment().data.digests != dataset.digests:
        raise InputError(
            f"{run.path} was begun with other images than those of: {dataset.source}; resume it "
            "with the same data, or begin anew with --overwrite"
        )
    if run.finished:
        if processes.rank == 0 and not run.model_card_path.is_file():
            write_model_card(run)
        return run
    with run.lock():
        recipe, display = run.recipe(), display or choose_display()
        if settings:
            recipe = recipe.override(settings)
            run.change_recipe(recipe, settings)
        for directory in (run.path, run.checkpoints_path, run.figures_path):
            remove_leftovers(directory)
        prepared = prepare(recipe, dataset, display, processes)
        return _train(run, recipe, dataset, prepared, display, processes)


def _train(
    run: Run,
    recipe: Recipe,
    dataset: Dataset,
    prepared: Prepared,
    display: Display,
    processes: Processes,
) -> Run:
    model = prepared.model
    state, best_weights, restored = restore_state(run, model)
    losses = image_losses_to_begin_with(recipe, len(prepared.batches.data), restored)
    ceiling = float(processes.gather(sgemm_gflops()).sum())
    job = Job(
        run=run,
        recipe=recipe,
        model=model,
        batches=prepared.batches,
        validation=prepared.validation,
        one_hot=np.eye(len(dataset.class_names), dtype=np.float32),
        state=state,
        best_weights=best_weights,
        losses=losses,
        display=display,
        seconds_before=state.seconds,
        processes=processes,
    )
    with _with_resume_hint(run):
        try:
            run_epochs(job)
            if best_weights:
                set_weights(model, best_weights)
        except JobInterruptedError:
            processes.leave()
            raise
        processes.leave()
        if processes.rank:
            return run
        display.message(f"{recipe.name}: {state.stopped}; evaluating on the test images")
        cost = TrainingCost(
            train_flops=training_flop(
                prepared.batches, state.step, flop_of_image(model, prepared.batches)
            ),
            sgemm_gflops=ceiling,
            sgemm_tflop=state.seconds * ceiling / 1000,
        )
        write_results(job, dataset, prepared.held_out, cost)
    return run


@contextmanager
def _with_resume_hint(run: Run) -> Iterator[None]:
    """Add the command that resumes the run to every failure."""
    resume_hint = f"go on with `thumbnet train --resume {run.path}`"
    try:
        yield
    except JobError as error:
        raise type(error)(f"{error}; {resume_hint}") from error
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise JobError(
            f"out of memory: close other programs and {resume_hint}, or start again with a smaller "
            "batch_size"
        ) from error
