"""Experiment trackers, as the Keras callbacks that `thumbnet train --log NAME` adds."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.errors import InputError
from thumbnet.installing import install_command
from thumbnet.recipe import Recipe
from thumbnet.runtime import prepare_keras

if TYPE_CHECKING:
    import keras

PROJECT = "thumbnet"
"""What the trackers call the group of all runs."""


Callbacks = list["keras.callbacks.Callback"]


def loggers(names: Sequence[str], path: Path, recipe: Recipe) -> Callbacks:
    """The callbacks of experiment trackers, for one run.

    Args:
        names: of `LOGGERS`.
        path: the run directory, whose name the trackers show.
        recipe: recorded with the run, if a tracker records settings.

    Raises:
        InputError: there is no such tracker, its package is not installed, or it cannot be used.
    """
    callbacks: Callbacks = []
    for name in dict.fromkeys(names):
        require_logger(name)
        try:
            callbacks += LOGGERS[name](path, recipe)
        except Exception as error:  # each has its own exceptions, for example if not logged in
            raise InputError(f"--log {name}: {error}") from error
    return callbacks


def require_logger(name: str) -> None:
    """Refuse a tracker that is unknown or not installed.

    Raises:
        InputError: with the command that installs it.
    """
    if name not in LOGGERS:
        raise InputError(f"--log {name}: choose from {', '.join(LOGGERS)}")
    for package in ("tensorboard", "tensorflow") if name == "tensorboard" else (name,):
        if find_spec(package) is None:
            raise InputError(
                f"--log {name} needs {package}, which is not installed: {install_command(package)}"
            )


def _tensorboard(path: Path, recipe: Recipe) -> Callbacks:
    return [prepare_keras().callbacks.TensorBoard(path / "tensorboard", write_graph=False)]


def _mlflow(path: Path, recipe: Recipe) -> Callbacks:
    import mlflow
    from mlflow.keras import MlflowCallback

    mlflow.set_experiment(PROJECT)
    mlflow.start_run(run_name=path.name)
    mlflow.log_dict(_settings(recipe), "recipe.json")
    return [MlflowCallback(), _at_end(mlflow.end_run)]


def _wandb(path: Path, recipe: Recipe) -> Callbacks:
    import wandb
    from wandb.integration.keras import WandbMetricsLogger

    wandb.init(project=PROJECT, name=path.name, config=_settings(recipe))
    return [WandbMetricsLogger(), _at_end(wandb.finish)]


def _trackio(path: Path, recipe: Recipe) -> Callbacks:
    # It has no Keras callback.
    import trackio

    trackio.init(project=PROJECT, name=path.name, config=_settings(recipe))
    log = prepare_keras().callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: trackio.log({"epoch": epoch, **logs})
    )
    return [log, _at_end(trackio.finish)]


def _at_end(finish: Callable[[], object]) -> "keras.callbacks.Callback":
    return prepare_keras().callbacks.LambdaCallback(on_train_end=lambda logs: finish())


def _settings(recipe: Recipe) -> dict[str, Any]:
    settings: dict[str, Any] = recipe.model_dump(mode="json")
    return settings


LOGGERS: dict[str, Callable[[Path, Recipe], Callbacks]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "wandb": _wandb,
    "trackio": _trackio,
}
