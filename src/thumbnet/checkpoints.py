"""Checkpoints: all that decides the future of a run, in one file a time.

A checkpoint is an `.npz` file of the model's variables, the optimizer's variables and the
training state as JSON. It is written beside and renamed; the last two are kept, so that one that
was damaged later does not end a run.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thumbnet.atomic import replacing
from thumbnet.errors import InputError

if TYPE_CHECKING:
    import keras

KEPT = 2
_PATTERN = "step-*.npz"


def save_checkpoint(
    directory: Path, model: "keras.Model", step: int, state: Mapping[str, Any]
) -> None:
    """Write the checkpoint of `step` and remove all but the last two."""
    write_variables(directory / f"step-{step:09d}.npz", model, state)
    for old in sorted(directory.glob(_PATTERN))[:-KEPT]:
        old.unlink()


def restore_checkpoint(directory: Path, model: "keras.Model") -> dict[str, Any] | None:
    """Set `model` and its optimizer to the newest checkpoint that can be read.

    Returns:
        The training state that was saved with it; None where there is no checkpoint.

    Raises:
        InputError: there are checkpoints, and none can be read.
    """
    found = sorted(directory.glob(_PATTERN), reverse=True)
    problems = []
    for path in found:
        try:
            return read_variables(path, model)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("; ".join(problems))
    return None


def write_variables(path: Path, model: "keras.Model", state: Mapping[str, Any]) -> None:
    """Write the variables of `model` and its optimizer, and `state`, to `path`."""
    arrays: dict[str, Any] = {
        name: np.asarray(variable) for name, variable in _variables(model).items()
    }
    with replacing(path) as file:
        np.savez(file, state=np.array(json.dumps(state)), **arrays)


def read_variables(path: Path, model: "keras.Model") -> dict[str, Any]:
    """Set `model` and its optimizer to what `write_variables` wrote, and return its state.

    Nothing is set before all of it was read and fits.

    Raises:
        InputError: the file is damaged, or belongs to another model.
    """
    variables = _variables(model)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            state = json.loads(str(arrays["state"]))
            values = {name: arrays[name] for name in variables}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged or belongs to another model: {error}") from error
    for name, variable in variables.items():
        if values[name].shape != tuple(variable.shape):
            raise InputError(
                f"{path} belongs to another model: {name} has shape {values[name].shape} in the "
                f"file and {tuple(variable.shape)} in the model"
            )
    for name, variable in variables.items():
        variable.assign(values[name])
    if not isinstance(state, dict):
        raise InputError(f"{path} is damaged: its training state is no JSON object")
    return state


def _variables(model: "keras.Model") -> dict[str, Any]:
    # By position: the names of a model's variables are not unique.
    variables = {f"model_{i}": variable for i, variable in enumerate(model.variables)}
    if model.optimizer is not None:
        variables |= {f"optimizer_{i}": v for i, v in enumerate(model.optimizer.variables)}
    return variables
