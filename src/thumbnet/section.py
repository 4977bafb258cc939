"""The base of every table of a recipe."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A table of a recipe: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
