"""Checkpoints: everything that a run needs to continue, in one file each.

A checkpoint is an `.npz` file of the model's variables, the optimizer's variables, the variables
of the best epoch if needed, the training state as JSON, and a digest of all of these. It is written
to a temporary file and renamed. The last two are kept, so that a run survives damage to one.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thumbnet.atomic import replacing
from thumbnet.errors import InputError, JobError
from thumbnet.npz import Array, read_npz

if TYPE_CHECKING:
    import keras

Weights = dict[str, Array]

KEPT = 2
# A checkpoint is written at the end of every epoch, and at this interval within a long one: an
# upper bound on the work lost to a kill. Writing one takes a few hundredths of a second.
CHECKPOINT_SECONDS = 60.0
# Room for the history of a long run, in addition to the variables.
STATE_BYTES = 2**28
_PATTERN = "step-*.npz"


def save_checkpoint(
    directory: Path,
    model: "keras.Model",
    step: int,
    state: Mapping[str, Any],
    best: Weights,
    losses: Weights,
) -> None:
    """Write the checkpoint of `step` and remove all but the last two.

    Args:
        directory: of the run's checkpoints.
        model: a compiled model.
        step: steps taken.
        state: the training state, plain values.
        best: the weights of the best epoch so far, from `weights_of`; empty if not needed.
        losses: of the training images, by name; empty if not needed.

    Raises:
        JobError: a weight is no longer finite, or the file cannot be written. Existing checkpoints
            are kept.
    """
    arrays = {name: np.asarray(variable) for name, variable in _variables(model).items()}
    for array in arrays.values():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise JobError(
                f"a weight became NaN or infinite by step {step}; lower optimizer.learning_rate"
            )
    arrays |= {f"best_{name}": array for name, array in best.items()}
    arrays |= {f"losses_{name}": array for name, array in losses.items()}
    arrays["state"] = np.array(json.dumps(state))
    with replacing(directory / f"step-{step:09d}.npz") as file:
        np.savez(file, digest=np.array(_digest(arrays)), **arrays)  # type: ignore[arg-type]
    for old in sorted(directory.glob(_PATTERN))[:-KEPT]:
        old.unlink()


def restore_checkpoint(
    directory: Path, model: "keras.Model"
) -> tuple[dict[str, Any], Weights, Weights] | None:
    """Set `model` and its optimizer to the newest intact checkpoint.

    Returns:
        The training state, the best weights and the losses of the checkpoint; None if there is no
        checkpoint.

    Raises:
        InputError: there are checkpoints, but none is intact.
    """
    problems = []
    for path in sorted(directory.glob(_PATTERN), reverse=True):
        try:
            return _restore(path, model)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("; ".join(problems))
    return None


def weights_of(model: "keras.Model") -> Weights:
    """A copy of the model's variables, without those of its optimizer."""
    return {f"model_{i}": np.asarray(v).copy() for i, v in enumerate(model.variables)}


def set_weights(model: "keras.Model", weights: Weights) -> None:
    """Set the model's variables to those copied by `weights_of`."""
    for i, variable in enumerate(model.variables):
        variable.assign(weights[f"model_{i}"])


def _restore(path: Path, model: "keras.Model") -> tuple[dict[str, Any], Weights, Weights]:
    """Set the model to a checkpoint, after checking that the whole file is intact and fits."""
    variables = _variables(model)
    expected_bytes = sum(np.asarray(variable).nbytes for variable in variables.values())
    arrays = read_npz(path, 2 * expected_bytes + STATE_BYTES)
    digest = str(arrays.pop("digest", ""))
    if digest != _digest(arrays):
        raise InputError(f"{path} is damaged: its content does not match its digest")
    best_names = [name for name in arrays if name.startswith("best_")]
    expected = dict(variables)
    if best_names:
        expected |= {f"best_{name}": v for name, v in variables.items() if name.startswith("model")}
    for name, variable in expected.items():
        if name not in arrays or arrays[name].shape != tuple(variable.shape):
            found = arrays[name].shape if name in arrays else "none"
            raise InputError(
                f"{path} belongs to another model: {name} has shape {found} in the file and "
                f"{tuple(variable.shape)} in the model"
            )
    try:
        state = json.loads(str(arrays["state"]))
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(f"{path} has no valid training state: {error}") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} has no valid training state: it is not a JSON object")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    best, losses = (
        {
            name.removeprefix(prefix): array.copy()
            for name, array in arrays.items()
            if name.startswith(prefix)
        }
        for prefix in ("best_", "losses_")
    )
    return state, best, losses


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _variables(model: "keras.Model") -> dict[str, Any]:
    # By position: the names of a model's variables are not unique.
    variables = {f"model_{i}": v for i, v in enumerate(model.variables)}
    if model.optimizer is not None:
        variables |= {f"optimizer_{i}": v for i, v in enumerate(model.optimizer.variables)}
    return variables
