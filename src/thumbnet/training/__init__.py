"""Trains and evaluates a recipe or a model on a dataset; the result is a run."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, JobInterruptedError
from thumbnet.machine import sgemm_gflops
from thumbnet.parallel.processes import SINGLE_PROCESS, Processes
from thumbnet.recipe import Recipe, shipped_recipes
from thumbnet.runs.model_card import write_model_card
from thumbnet.runs.records import TrainingCost
from thumbnet.runs.run import Run
from thumbnet.training.cost import flop_of_image, training_flop
from thumbnet.training.loop import Training
from thumbnet.training.own import BuildModel, custom_recipe, own_parts
from thumbnet.training.progress import Display, choose_display
from thumbnet.training.session import fit, new_training, reopened_training
from thumbnet.training.steps import long_enough

if TYPE_CHECKING:
    import keras

# The settings that may change when a run is resumed: they affect only the remaining steps.
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
        recipe_or_model: a recipe, the name of a shipped one, the path of a file, or "auto" to have
            `thumbnet.auto.choose_recipe` choose one; or a `keras.Model`, or a function that builds
            one from the images' (height, width, channels) and the number of classes. Such a model
            takes raw pixels, 0 to 255, and returns a logit or a probability for each class. A
            `keras.Model` is copied together with its weights.
        dataset: the images; the test split is read once, after training. With "auto" the images
            may be read again at a different size.
        out: a directory that is empty or does not exist; by default a new one under `runs`.
        epochs: number of epochs, in place of the recipe's. Without it, a shipped recipe that is
            given by name gets smaller batches and more epochs on a small dataset of image files.
        seed: random seed, in place of the recipe's.
        callbacks: Keras callbacks, called as `keras.Model.fit` would. One that sets
            `model.stop_training` ends the run, which is then evaluated.
        augment: a Keras preprocessing layer, several of them, or a function that takes uint8 images
            of shape (n, height, width, channels), float32 labels of shape (n, classes) and a
            `numpy.random.Generator`, and returns images from 0 to 255 and labels. Applied after
            the recipe's augmentations.
        optimizer: a Keras optimizer, in place of the recipe's `[optimizer]` and `[schedule]`.
        display: shows the progress; by default a live line on a terminal and one plain line per
            epoch elsewhere, on standard error.
        processes: the processes that train this run together. Each of them calls this function,
            with `out` from `Processes.mirrored`.

    Returns:
        The finished run. Only rank 0 writes the results.

    Raises:
        InputError: the recipe, the model or another argument cannot be used, or the directory is
            not empty.
        JobError: the loss is no longer finite, the disk is full, memory has run out, another
            process is training this run, or Ctrl-C was pressed. The run can be resumed.
    """
    display = display or choose_display()
    if out is not None:
        Run.require_free(out)
    changed = {"epochs": epochs, "seed": seed}
    settings = {key: value for key, value in changed.items() if value is not None}
    model = None
    if recipe_or_model == "auto":
        from thumbnet.auto import choose_recipe  # imports this package, to train briefly

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
    if isinstance(recipe_or_model, str) and recipe_or_model in shipped_recipes():
        recipe = long_enough(recipe, dataset, display, adjust=epochs is None)
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
    """Continue an interrupted run from its last checkpoint, as if it had not been interrupted.

    Args:
        run: the run; a finished one is returned unchanged.
        dataset: the same images as before.
        settings: recipe values to change from here on, by their dotted keys; only
            `RESUMABLE_SETTINGS`. They are saved with the run.
        callbacks: as in `train`.
        model: the model, or the function that builds it, if `train` was given one.
        augment: as in `train`, if it was given there.
        optimizer: as in `train`, if it was given there.
        display: as in `train`.
        processes: as in `train`; there may be more or fewer than before.

    Raises:
        InputError: the images differ from before, a custom model, augmentation or optimizer is
            missing, a setting cannot be changed, or no checkpoint is intact.
        JobError: as in `train`.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    if fixed := [key for key in settings or {} if key not in RESUMABLE_SETTINGS]:
        raise InputError(
            f"{', '.join(fixed)} cannot be changed when a run is resumed, only "
            f"{', '.join(RESUMABLE_SETTINGS)}; to change it, start over with --overwrite"
        )
    environment = run.environment()
    if environment.data.digests != dataset.digests:
        raise InputError(
            f"{run.path} was started with different images from those of: {dataset.source}; resume "
            "it with the same data, or start over with --overwrite"
        )
    if run.finished:
        if processes.rank == 0 and not run.model_card_path.is_file():
            write_model_card(run)
        return run
    own = own_parts(model, augment, optimizer)
    if (needed := environment.own_parts) != own.names():
        arguments = "".join(f", {name}=…" for name in needed)
        raise InputError(
            f"{run.path} was started with {_custom(needed)}, but resumed with "
            f"{_custom(own.names())}: use thumbnet.resume(run, dataset{arguments}) in Python"
        )
    display = display or choose_display()
    with reopened_training(run, dataset, display, settings, processes, own) as training:
        return _fit_and_evaluate(training, dataset, display, callbacks)


def _custom(names: list[str]) -> str:
    return f"a custom {' and '.join(names)}" if names else "no custom parts"


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
