"""Recipes: all settings of a run in one small TOML file, checked when it is read.

The file overrides the defaults, and the command line overrides the file. The resolved recipe is
saved with the run.
"""

import difflib
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import tomli_w
from pydantic import (
    AfterValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    create_model,
    model_validator,
)

from thumbnet import registry
from thumbnet.augmentations import augmentation, in_order
from thumbnet.errors import InputError
from thumbnet.models import CUSTOM, ModelParameters, architecture_names, parameters_class
from thumbnet.record import read_bounded_text
from thumbnet.section import Section

# Keys of version 0.1.0, which recipes and runs may still use, and their current names.
RENAMED_KEYS = {
    "parts": "ghost_batches",
    "revisit": "hard_example_fraction",
    "test_time_views": "tta_views",
    "augmentation.scales": "augmentation.progressive_resizing",
    "augmentation.shift": "augmentation.random_crop_padding",
    "model.components": "model.pca_components",
    "model.convolutions": "model.convs_per_block",
    "optimizer.adam_share": "optimizer.adam_lr_ratio",
    "stopping.until_accuracy": "stopping.target_accuracy",
}

IMAGENET = "imagenet"
"""The value of `start.weights` for a backbone's published weights."""

Fraction = Annotated[float, Field(ge=0, lt=1)]
Decision = Annotated[str, Field(max_length=500)]
Scale = Annotated[float, Field(ge=0.125, le=1)]
Metric = Literal["accuracy", "top_5_accuracy"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"]
Balance = Literal["none", "class_weights", "sampling"]


class Loss(Section):
    """Cross-entropy between the softmax of the logits and the label."""

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Fraction = 0.0


def _known_optimizer(name: str) -> str:
    if name not in registry.names("optimizer"):
        raise ValueError(f"must be one of {', '.join(registry.names('optimizer'))}")
    return name


class Optimizer(Section):
    """The optimizer and its peak learning rate.

    `momentum` is Adam's beta_1 with `adamw`. `muon` trains the kernels and leaves biases, batch
    normalisation and the output layer to Adam, whose learning rate is `adam_lr_ratio` times
    `learning_rate`; the other optimizers ignore that key. `weight_decay` is decoupled, and must be
    0 with `muon`, which keeps the norm of each kernel fixed.
    """

    name: Annotated[str, AfterValidator(_known_optimizer)] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Fraction = 0.9
    adam_lr_ratio: Annotated[float, Field(gt=0)] = 0.05
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Schedule(Section):
    """The learning rate schedule, relative to the peak learning rate.

    Linear warmup over the first `warmup` fraction of the run, then linear or cosine decay to
    `final` times the peak.
    """

    decay: Literal["constant", "linear", "cosine"] = "linear"
    warmup: Fraction = 0.0
    final: Annotated[float, Field(ge=0, le=1)] = 0.0


class Augmentation(Section):
    """Data augmentation of the training images; sizes are in pixels.

    `alternating` flips a random half of the images in the first epoch and then alternates, so that
    two consecutive epochs show both orientations of each image (Jordan 2024, arXiv 2404.00498).
    `progressive_resizing` lists fractions of the images' height and width, used one after another
    over the epochs: early epochs cost less on smaller images (Howard 2018, DAWNBench).
    `random_crop_padding` pads with reflection and crops at random. It and the side of the `cutout`
    square are given for the full image size, and are scaled with it. Further keys are the names of
    the augmentations in `thumbnet.augmentations` and of registered ones.
    """

    flip: Literal["none", "random", "alternating"] = "none"
    random_crop_padding: Annotated[int, Field(ge=0, le=16)] = 0
    cutout: Annotated[int, Field(ge=0, le=32)] = 0
    progressive_resizing: Annotated[tuple[Scale, ...], Field(min_length=1, max_length=1_000)] = (
        1.0,
    )

    def by_name(self) -> dict[str, Any]:
        """The nonzero settings of the augmentations that are looked up by name.

        They are in the order in which they are applied.
        """
        settings = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name not in Augmentation.model_fields
        }
        return {name: settings[name] for name in in_order(settings) if settings[name]}

    @classmethod
    def keys(cls) -> set[str]:
        return super().keys() | set(registry.names("augmentation"))


def _augmentation_class(table: Any) -> type[Augmentation]:
    """The class that checks an `[augmentation]` table, with a field for each augmentation."""
    named = set(table) if isinstance(table, Mapping) else set()
    return _with_augmentations(tuple(sorted(named & set(registry.names("augmentation")))))


@cache
def _with_augmentations(names: tuple[str, ...]) -> type[Augmentation]:
    settings: dict[str, Any] = {name: (augmentation(name).Setting, ...) for name in names}
    return create_model("Augmentation", __base__=Augmentation, **settings)


class Start(Section):
    """The weights that training starts from.

    `weights` is "imagenet" for those of a backbone, the directory of a finished run with the same
    `[model]` table, or empty for random ones. With `fit_head`, the output layer is first fitted to
    the features of the unmodified network by logistic regression.
    """

    weights: Annotated[str, Field(max_length=4_096)] = ""
    fit_head: bool = True


class Stopping(Section):
    """The rules that end a run before all epochs are finished; 0 switches a rule off.

    `patience` is the number of epochs without an improvement of the validation accuracy after
    which training stops and the weights of the best epoch are restored. `budget_seconds` limits the
    training time; the learning rate schedule is compressed to fit it.
    """

    patience: Annotated[int, Field(ge=0)] = 0
    budget_seconds: Annotated[float, Field(ge=0)] = 0.0
    target_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.0


class Recipe(Section):
    """All settings of a run; the shipped recipes are in `thumbnet/recipes`.

    `ghost_batches` is the number of parts into which each batch is split, which are normalised
    separately. `subset` is the fraction of the training split to use, for quick trials. `balance`
    handles imbalanced classes: `class_weights` weights the loss by inverse class frequency,
    `sampling` shows every class equally often. `hard_example_fraction` is the fraction of the
    images that are used in epochs after the first: those with the highest loss when they were last
    seen (after Katharopoulos and Fleuret 2018, arXiv 1803.00942, who reweight their samples).
    `deterministic` makes the backend use bitwise reproducible operations. With a mixed
    `precision`, layers compute in 16 bits, while weights, batch statistics and logits stay in
    float32; "auto" chooses the fastest precision on this machine when training starts. `tta_views`
    is the number of views in test-time augmentation: the image, its mirror image, and both shifted
    in two directions.
    `decisions` are sentences on how `auto` chose the values.
    """

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]
    description: Annotated[str, Field(max_length=500)] = ""
    decisions: Annotated[tuple[Decision, ...], Field(max_length=100)] = ()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    deterministic: bool = False
    precision: Precision = "float32"
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 10
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 256
    ghost_batches: Annotated[int, Field(ge=1, le=64)] = 1
    validation: Fraction = 0.1
    subset: Annotated[float, Field(gt=0, le=1)] = 1.0
    balance: Balance = "none"
    hard_example_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    metrics: tuple[Metric, ...] = ("accuracy",)
    tta_views: Literal[1, 2, 6] = 1
    model: SerializeAsAny[ModelParameters]
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    augmentation: SerializeAsAny[Augmentation] = Augmentation()
    start: Start = Start()
    stopping: Stopping = Stopping()

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        watched = [key for key in ("patience", "target_accuracy") if getattr(self.stopping, key)]
        if watched and (self.validation == 0 or "accuracy" not in self.metrics):
            raise ValueError(
                f"stopping.{watched[0]} watches the validation accuracy; set validation above 0 "
                'and keep "accuracy" among the metrics'
            )
        if self.ghost_batches > self.batch_size:
            raise ValueError(
                f"ghost_batches: a batch of {self.batch_size} cannot be split into "
                f"{self.ghost_batches}; lower ghost_batches or raise batch_size"
            )
        if self.hard_example_fraction < 1 and self.balance == "sampling":
            raise ValueError(
                'hard_example_fraction and balance = "sampling" both choose the images of an '
                "epoch; set hard_example_fraction to 1 or balance to another value"
            )
        mixing = [name for name in self.augmentation.by_name() if augmentation(name).MIXES_IMAGES]
        if self.hard_example_fraction < 1 and mixing:
            raise ValueError(
                f"augmentation.{mixing[0]} mixes images, so that the loss of a single image is "
                "unknown; set it to 0, or hard_example_fraction to 1"
            )
        return self

    @classmethod
    def read(cls, source: str | Path) -> "Recipe":
        """Read a recipe file, or a shipped recipe by its name.

        Raises:
            InputError: no recipe has that name, or the file is not a valid recipe.
        """
        path = Path(source)
        shipped = files("thumbnet") / "recipes" / f"{source}.toml"
        if path.suffix != ".toml" and str(source) in shipped_recipes():
            text, origin = shipped.read_text(encoding="utf-8"), f"recipe {source}"
        else:
            try:
                text, origin = read_bounded_text(path), str(path)
            except FileNotFoundError as error:
                raise InputError(
                    f"no recipe {source}: choose from {', '.join(shipped_recipes())}, or give the "
                    "path of a .toml file"
                ) from error
        return cls.parse(text, origin)

    @classmethod
    def parse(cls, text: str, origin: str) -> "Recipe":
        """Make a recipe from TOML text; `origin` names its source in error messages.

        Raises:
            InputError: it is not a valid recipe.
        """
        try:
            values = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise InputError(f"{origin} is not valid TOML: {error}") from error
        return cls.check(values, origin)

    @classmethod
    def check(cls, values: Mapping[str, Any], origin: str) -> "Recipe":
        """Make a recipe from plain values; `origin` names their source in error messages.

        Raises:
            InputError: a key is unknown or out of range; the message names all such keys.
        """
        values = _rename_keys(values, origin)
        tables: dict[str, type[Section]] = {
            "model": cls._parameters_class(values.get("model"), origin),
            "augmentation": _augmentation_class(values.get("augmentation")),
        }
        section = ""
        checked: type[Section] = cls
        try:
            for section, checked in tables.items():
                values[section] = checked.model_validate(values.get(section, {}))
            section, checked = "", cls
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [_describe(problem, section, checked) for problem in error.errors()]
            raise InputError(f"{origin}: {'; '.join(problems)}") from error

    @staticmethod
    def _parameters_class(model: Any, origin: str) -> type[ModelParameters]:
        architecture = model.get("architecture") if isinstance(model, Mapping) else None
        if architecture not in (*architecture_names(), CUSTOM):
            raise InputError(
                f"{origin}: model.architecture: must be one of {', '.join(architecture_names())}, "
                f"got {architecture!r}"
            )
        return parameters_class(architecture)

    def override(self, settings: Mapping[str, Any]) -> "Recipe":
        """A copy with new values for some dotted keys, such as `optimizer.learning_rate`.

        Valid TOML text (`3`, `[64, 128]`, `true`) is parsed; other text is used as a string.

        Raises:
            InputError: a key is unknown or out of range; the message names all such keys.
        """
        values = self.model_dump(mode="json")
        for key, setting in settings.items():
            table = values
            *parents, last = RENAMED_KEYS.get(key, key).split(".")
            for parent in parents:
                table = table.setdefault(parent, {})
                if not isinstance(table, dict):
                    raise InputError(f"{key}: unknown key; {parent} is a value, not a table")
            table[last] = _parse(setting) if isinstance(setting, str) else setting
        return self.check(values, "override")

    def differences(self, started: "Recipe") -> list[str]:
        """Compare with the recipe of a run, except for the description.

        The recipe of a run has the precision that "auto" was resolved to when the run was started.

        Returns:
            One text per dotted key that differs, with both values; empty if the run was started
            with this recipe.
        """
        asked, found = (_flat(recipe.model_dump(mode="json")) for recipe in (self, started))
        if self.precision == "auto":
            asked["precision"] = found["precision"]
        return [
            f"{key} = {found.get(key, 'none')!r} instead of {asked.get(key, 'none')!r}"
            for key in asked | found
            if key != "description" and asked.get(key) != found.get(key)
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        # Pydantic would refer to table classes that are created only at run time.
        return Recipe.parse, (self.to_toml(), "pickled recipe")

    def to_toml(self) -> str:
        """The recipe as TOML text that `parse` accepts."""
        return tomli_w.dumps(self.model_dump(mode="json"))


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    recipes = (files("thumbnet") / "recipes").iterdir()
    return tuple(sorted(Path(r.name).stem for r in recipes if r.name.endswith(".toml")))


def _rename_keys(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """A copy of a recipe's values in which keys of version 0.1.0 have their current names."""
    values = {
        key: dict(table) if isinstance(table, Mapping) else table for key, table in values.items()
    }
    for old, new in RENAMED_KEYS.items():
        *parents, old_name = old.split(".")
        new_name = new.rpartition(".")[2]
        table: Any = values
        for parent in parents:
            table = table.get(parent)
        if not isinstance(table, dict) or old_name not in table:
            continue
        if new_name in table:
            raise InputError(f"{origin}: {old} is the old name of {new}; give only one of them")
        table[new_name] = table.pop(old_name)
    return values


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return flat


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _describe(problem: Mapping[str, Any], section: str, checked: type[Section]) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join(filter(None, [section, *path]))
    if problem["type"] == "extra_forbidden":
        *tables, unknown = path
        for table in tables:
            checked = cast("type[Section]", checked.model_fields[table].annotation)
        known = sorted(checked.keys())
        similar = difflib.get_close_matches(unknown, known, n=1)
        hint = f"did you mean {similar[0]}?" if similar else f"known keys: {', '.join(known)}"
        return f"{key}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not key:  # a check of several keys at once, whose message names them
        return message
    return f"{key}: {message[0].lower()}{message[1:]}, got {problem['input']!r}"
