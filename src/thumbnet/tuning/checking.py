"""Validation of the trials in a study's storage, which may come from an untrusted source.

The attributes of a trial contain file names and numbers, and its parameters become a recipe.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from thumbnet.errors import InputError, shown
from thumbnet.record import Amount, Count, Fraction, Record, describe_problem
from thumbnet.tuning.space import Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


class Notes(Record):
    """The user attributes of a trial, spelled as in existing journals; see `workers`."""

    worker: Annotated[str, Field(pattern=r"^[0-9A-Za-z_-]{1,64}$")] | None = None
    directory: Annotated[str, Field(pattern=r"^trials/[0-9]{4,12}$")] | None = None
    flop: Count | None = None
    seconds_spent: Amount | None = None
    screened: Fraction | None = None
    promotes: Count | None = None
    goes_on_with: Annotated[int, Field(ge=0, lt=10**12)] | None = None


class _Result(Record):
    """The values of a finished trial."""

    values: list[Amount]


def require_valid_trials(trials: Sequence["FrozenTrial"], space: Space, objectives: int) -> None:
    """Refuse trials that cannot have been written by a worker of this search.

    Args:
        trials: all trials of the study.
        space: its search space.
        objectives: number of values of a finished trial.

    Raises:
        InputError: a trial has invalid parameters, attributes or values.
    """
    for trial in trials:
        name = f"trial {trial.number} of the search is damaged"
        try:
            Notes.model_validate(trial.user_attrs)
            if trial.state.name == "COMPLETE":
                finished = _Result(values=list(trial.values))
                if len(finished.values) != objectives or finished.values[0] > 1:
                    raise InputError(f"{name}: it has the values {finished.values}")
        except ValidationError as error:
            raise InputError(f"{name}: {describe_problem(error)}") from error
        for parameters in (trial.params, trial.system_attrs.get("fixed_params", {})):
            _require_in_space(parameters, space, name)


def _require_in_space(parameters: Mapping[str, Any], space: Space, name: str) -> None:
    if not isinstance(parameters, dict):
        raise InputError(f"{name}: its parameters are not a table")
    for key, value in parameters.items():
        if key not in space or not space[key].contains(value):
            raise InputError(f"{name}: {shown(str(key)[:200])} is not in the search space")
