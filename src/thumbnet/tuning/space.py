"""The search space: ranges and choices for the dotted keys of a recipe."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thumbnet.errors import InputError
from thumbnet.recipe import Recipe
from thumbnet.record import read_bounded_text

if TYPE_CHECKING:
    import optuna

ENDING = ".space.toml"


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both inclusive; integers if both are integers."""

    low: float
    high: float
    log: bool = False

    def suggest(self, trial: "optuna.Trial", key: str) -> Any:
        """Sample a value for a trial."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(key, self.low, self.high, log=self.log)
        return trial.suggest_float(key, self.low, self.high, log=self.log)

    def at(self, quantile: float) -> Any:
        """The study's parameter at a quantile from 0 (inclusive) to 1 (exclusive) of the range."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        end = self.high + whole  # every integer, including the last, covers an interval
        value = (
            self.low * (end / self.low) ** quantile
            if self.log
            else self.low + quantile * (end - self.low)
        )
        return min(math.floor(value) if whole else value, self.high)  # rounding may exceed `high`

    def examples(self) -> list[Any]:
        """Values that the recipe must accept."""
        return [self.low, self.high]

    def all(self) -> list[Any]:
        """Every integer in the range."""
        return list(range(math.ceil(self.low), math.floor(self.high) + 1))

    def parameter(self, value: Any) -> Any:
        """The study's parameter for a value of the recipe; None if it is out of range."""
        return value if self.low <= value <= self.high else None

    def value(self, parameter: Any) -> Any:
        """The recipe's value for a parameter of the study."""
        return parameter

    def contains(self, parameter: Any) -> bool:
        """Whether the study's parameter lies in the range."""
        return type(parameter) in (int, float) and self.low <= parameter <= self.high


@dataclass(frozen=True)
class Choices:
    """A list of values of any type; the study stores each as JSON text."""

    texts: tuple[str, ...]

    def suggest(self, trial: "optuna.Trial", key: str) -> Any:
        """Sample a value for a trial."""
        return self.value(trial.suggest_categorical(key, self.texts))

    def at(self, quantile: float) -> Any:
        """The study's parameter at a quantile from 0 (inclusive) to 1 (exclusive) of the list."""
        return self.texts[int(quantile * len(self.texts))]

    def examples(self) -> list[Any]:
        """Values that the recipe must accept."""
        return [self.value(text) for text in self.texts]

    def all(self) -> list[Any]:
        """Every choice."""
        return self.examples()

    def parameter(self, value: Any) -> Any:
        """The study's parameter for a value of the recipe; None if it is not among the choices."""
        return next((text for text in self.texts if self.value(text) == value), None)

    def value(self, parameter: Any) -> Any:
        """The recipe's value for a parameter of the study."""
        return json.loads(parameter)

    def contains(self, parameter: Any) -> bool:
        """Whether the study's parameter is one of the choices."""
        return parameter in self.texts


Space = Mapping[str, Range | Choices]


def space_text(recipe: Recipe, path: Path | None) -> str:
    """The text of a search space: from a file, or the shipped one of the recipe's architecture.

    Raises:
        InputError: the file cannot be read, or is not a valid space for this recipe.
    """
    if path is None:
        source = f"the search space of {recipe.model.architecture}"
        shipped = files(__package__) / "spaces" / f"{recipe.model.architecture}.toml"
        text = shipped.read_text(encoding="utf-8")
    else:
        source = str(path)
        try:
            text = read_bounded_text(path)
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist") from error
    parse_space(text, source, recipe)
    return text


def neighbour(recipe: str) -> Path | None:
    """The file `mine.space.toml` next to the recipe file `mine.toml`; None if there is none."""
    path = Path(recipe)
    beside = path.with_name(path.name.removesuffix(".toml") + ENDING)
    return beside if path.suffix == ".toml" and beside.is_file() else None


def parse_space(text: str, source: str, recipe: Recipe) -> Space:
    """Parse a search space from TOML.

    Raises:
        InputError: it is not valid TOML, a line is neither a range nor choices, or the recipe does
            not accept a value.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source} is not valid TOML: {error}") from error
    space = {key: _dimension(key, value, source) for key, value in table.items()}
    if not space:
        raise InputError(f"{source} is empty: it varies no key")
    for key, dimension in space.items():
        for example in dimension.examples():
            try:
                recipe.override({key: example})
            except InputError as error:
                raise InputError(f"{source}: {error}") from error
    return space


def starting_point(space: Space, recipe: Recipe) -> dict[str, Any]:
    """The recipe as a point of the search space; empty if it lies outside."""
    values = recipe.model_dump(mode="json")
    point = {}
    for key, dimension in space.items():
        value = values
        for part in key.split("."):
            value = value[part]
        point[key] = dimension.parameter(value)
    return {} if None in point.values() else point


def first_points(space: Space, count: int, seed: int) -> list[dict[str, Any]]:
    """Points that cover every choice, and every part of a range, about equally often.

    A Latin hypercube (McKay, Beckman and Conover 1979). A few random points may all share one
    choice, and a sampler that models the results then keeps to it.
    """
    from scipy.stats.qmc import LatinHypercube

    drawn = LatinHypercube(len(space), rng=seed).random(count)
    return [
        {
            key: dimension.at(float(quantile))
            for (key, dimension), quantile in zip(space.items(), point, strict=True)
        }
        for point in drawn
    ]


def _dimension(key: str, value: Any, source: str) -> Range | Choices:
    help_ = f"{source}: {key} must be {{ low = …, high = …, log = … }} or {{ choices = […] }}"
    if not isinstance(value, dict):
        raise InputError(help_ + "; write dotted keys in quotes")
    if value.keys() == {"choices"} and isinstance(value["choices"], list) and value["choices"]:
        return Choices(tuple(map(json.dumps, value["choices"])))
    if not ({"low", "high"} <= value.keys() <= {"low", "high", "log"}):
        raise InputError(help_)
    low, high, log = value["low"], value["high"], value.get("log", False)
    numbers = all(isinstance(each, (int, float)) and type(each) is not bool for each in (low, high))
    if not (numbers and type(log) is bool and low < high and (low > 0 or not log)):
        raise InputError(help_ + ", with low below high, and low above 0 if log = true")
    return Range(low, high, log)
