"""From a recipe or a model and a dataset to a run: prepared, trained, and evaluated."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobInterruptedError
from thumbnet.machine import sgemm_gflops
from thumbnet.parallel.processes import SINGLE_PROCESS, Processes
from thumbnet.recipe import Recipe
from thumbnet.runs.model_card import write_model_card
from thumbnet.runs.records import TrainingCost
from thumbnet.runs.run import Run
from thumbnet.training.cost import flop_of_image, training_flop
from thumbnet.training.loop import Training
from thumbnet.training.own import BuildModel, custom_recipe, own_parts
from thumbnet.training.progress import Display, choose_display
from thumbnet.training.session import fit, new_training, reopened_training

if TYPE_CHECKING:
    import keras

# What may be set anew when a run is resumed: it changes the steps to come, not what they mean.
RESUMABLE_SETTINGS = (
    "optimizer.learning_rate",
    "stopping.patience",
    "stopping.budget_seconds",
    "stopping.target_accuracy",
)


def train(
    recipe_or_model: "Recipe | str | Path | keras.Model | BuildModel",
    dataset: Dataset,
    out: str | Path | None = None,
    *,
    epochs: int | None = None,
    seed: int | None = None,
    callbacks: "Sequence[keras.callbacks.Callback]" = (),
    augment: Any = None,
    optimizer: "keras.optimizers.Optimizer | None" = None,
    display: Display | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Run:
    """Train one model and write its run directory.

    Args:
        recipe_or_model: a recipe, the name of a shipped one, the path of a file, or "auto" for one
            that `thumbnet.auto.choose_recipe` chooses; or a `keras.Model`, or a function that
            builds one from the images' (height, width, channels) and the number of classes. Such a
            model sees raw pixels, 0 to 255, and gives a logit or a probability for each class; one
            that is given is copied with its weights.
        dataset: the images; its test part is read once, after training. With "auto" its pictures
            may be read again in another size.
        out: a directory that is empty or does not exist; by default a new one under `runs`.
        epochs: passes over the training images, in place of the recipe's.
        seed: decides everything that is random, in place of the recipe's.
        callbacks: Keras callbacks, called as `keras.Model.fit` would. One that sets
            `model.stop_training` ends the run, which is then evaluated.
        augment: a Keras preprocessing layer, several of them, or a function that takes uint8 images
            of shape (n, height, width, channels), float32 labels of shape (n, classes) and a
            `numpy.random.Generator`, and returns images from 0 to 255 and labels. Applied after
            the recipe's augmentations.
        optimizer: a Keras optimizer, in place of the recipe's `[optimizer]` and `[schedule]`.
        display: what shows the progress; by default a live line on a terminal and a plain line
            an epoch elsewhere, on standard error.
        processes: those that train this run together, each of which calls this; `out` comes from
            `Processes.mirrored`.

    Returns:
        The finished run; only of rank 0 does it hold the results.

    Raises:
        InputError: a recipe, a model or another part that cannot be used, or a directory that is
            not empty.
        JobError: the loss is no longer finite, the disk is full, the memory is not enough,
            another process trains this run, or Ctrl-C was pressed. The run can be resumed.
    """
    display = display or choose_display()
    if out is not None:
        Run.require_free(out)
    changed = {"epochs": epochs, "seed": seed}
    settings = {key: value for key, value in changed.items() if value is not None}
    model = None
    if recipe_or_model == "auto":
        from thumbnet.auto import choose_recipe  # which trains briefly by means of this package

        plan = choose_recipe(dataset, display)
        recipe, dataset = plan.recipe, plan.dataset
    elif isinstance(recipe_or_model, Recipe):
        recipe = recipe_or_model
    elif isinstance(recipe_or_model, str | Path):
        recipe = Recipe.read(recipe_or_model)
    else:
        model = recipe_or_model
        recipe = custom_recipe(model)
    recipe = recipe.override(settings)
    own = own_parts(model, augment, optimizer)
    path = _new_directory(recipe.name) if out is None else Path(out)
    with new_training(path, recipe, dataset, display, processes, own) as training:
        return _fit_and_evaluate(training, dataset, display, callbacks)


def resume(
    run: Run | str | Path,
    dataset: Dataset,
    *,
    settings: Mapping[str, Any] | None = None,
    callbacks: "Sequence[keras.callbacks.Callback]" = (),
    model: "keras.Model | BuildModel | None" = None,
    augment: Any = None,
    optimizer: "keras.optimizers.Optimizer | None" = None,
    display: Display | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> Run:
    """Continue a run that was stopped, from its last checkpoint, as if it had not been.

    Args:
        run: the run; one that is finished is returned as it is.
        dataset: the same images as before.
        settings: values of the recipe to replace from here on, by their dotted keys; only
            `RESUMABLE_SETTINGS`. They are saved with the run.
        callbacks: as in `train`.
        model: the model, or the function that builds it, where `train` was given one.
        augment: as in `train`, where it was given there.
        optimizer: as in `train`, where it was given there.
        display: as in `train`.
        processes: as in `train`; there may be more or fewer than before.

    Raises:
        InputError: the images are others than before, a part of the user's own is missing, a
            setting cannot be replaced, or no checkpoint is sound.
        JobError: as in `train`.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if fixed := [key for key in settings or {} if key not in RESUMABLE_SETTINGS]:
        raise InputError(
            f"{', '.join(fixed)} cannot be changed when a run is resumed, only "
            f"{', '.join(RESUMABLE_SETTINGS)}; begin anew with --overwrite"
        )
    environment = run.environment()
    if environment.data.digests != dataset.digests:
        raise InputError(
            f"{run.path} was begun with other images than those of: {dataset.source}; resume it "
            "with the same data, or begin anew with --overwrite"
        )
    if run.finished:
        if processes.rank == 0 and not run.model_card_path.is_file():
            write_model_card(run)
        return run
    own = own_parts(model, augment, optimizer)
    if (needed := environment.own_parts) != own.names():
        arguments = "".join(f", {name}=…" for name in needed)
        raise InputError(
            f"{run.path} was begun with {_listed(needed)} of the user's own, and is resumed with "
            f"{_listed(own.names())}: use thumbnet.resume(run, dataset{arguments}) in Python"
        )
    display = display or choose_display()
    with reopened_training(run, dataset, display, settings, processes, own) as training:
        return _fit_and_evaluate(training, dataset, display, callbacks)


def _listed(parts: list[str]) -> str:
    return f"{' and '.join(parts)}" if parts else "no part"


def _new_directory(name: str) -> Path:
    """A directory under `runs` that no run has yet: NAME, NAME-2 and so on."""
    paths = (Path("runs", name if n == 1 else f"{name}-{n}") for n in itertools.count(1))
    return next(path for path in paths if Run.is_free(path))


def _fit_and_evaluate(
    training: Training,
    dataset: Dataset,
    display: Display,
    callbacks: "Sequence[keras.callbacks.Callback]",
) -> Run:
    # Not above: it imports Matplotlib and scikit-learn, which a display of progress does not need.
    from thumbnet.training.results import write_results

    recipe, state, processes = training.recipe, training.state, training.processes
    ceiling = float(processes.gather(sgemm_gflops()).sum())
    try:
        fit(training, display, callbacks)
    except JobInterruptedError:
        processes.leave()
        raise
    processes.leave()
    if processes.rank:
        return training.run
    display.message(f"{recipe.name}: {state.stopped}; evaluating on the test images")
    batches = training.prepared.batches
    flop = training_flop(batches, state.step, flop_of_image(training.model, batches))
    cost = TrainingCost(
        train_flops=flop, sgemm_gflops=ceiling, sgemm_tflop=state.seconds * ceiling / 1000
    )
    write_results(training, dataset, cost, display.message)
    return training.run
