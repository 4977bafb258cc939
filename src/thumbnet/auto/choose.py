"""From the facts and the measurements to a recipe, with a sentence for each decision."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thumbnet.auto.facts import LARGEST_SIDE, Facts, at_size, look_at
from thumbnet.auto.pilots import (
    BACKBONE_IMAGES,
    BriefTraining,
    FrozenFeatures,
    measure_frozen_features,
    train_briefly,
)
from thumbnet.backbones import BACKBONES, BackboneName, is_at_hand
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.resizing import resize_linear
from thumbnet.data.split import stratified_split, stratified_subset
from thumbnet.errors import InputError, JobError
from thumbnet.recipe import IMAGENET, Recipe
from thumbnet.training.progress import Display, choose_display

BUDGET_SECONDS = 180.0
"""Training time, the measurements before it included."""

SCRATCH = "scratch"
"""What `--from` calls random weights."""

# Of the budget: a training from scratch to judge by, and when no further size is tried.
BRIEF_FRACTION = 0.08
MEASURING_FRACTION = 0.3
# Sides in pixels, of images to train on from scratch and with a backbone.
SCRATCH_SIDES = (32, 48, 64, 96)
BACKBONE_SIDES = (96, 128, 160)
PILOT_SIDE = 32
# What a network from scratch has to see to make use of its size: images in all, and of each image.
FEWEST_VISITS, FEWEST_EPOCHS = 10_000, 8
MOST_EPOCHS = 150
FINETUNING_EPOCHS = (3, 12)
# A step of fine-tuning takes as long as so many forward passes.
FINETUNING_COST = 4.5
# A class that has so many times the images of another one would outvote it.
IMBALANCED = 2.0
# Mixed images are harder, which pays once each image was seen about so often.
MIX_FROM_EPOCHS = 30
# With fewer validation images, the best epoch would be the luckiest one.
VALIDATION_THAT_DECIDES = 30
# Where a short training from scratch is right so often, a backbone has nothing to add.
EASY = 0.97
FINETUNING_RATE = 3e-4


@dataclass(frozen=True)
class Plan:
    """A recipe, and the images in the size that it is meant for."""

    recipe: Recipe
    dataset: Dataset


@dataclass
class _Choosing:
    """What has been decided so far; `decisions` are shown as they are made."""

    dataset: Dataset
    facts: Facts
    budget: float
    seed: int
    validation: float
    display: Display
    started: float = field(default_factory=time.monotonic)
    decisions: list[str] = field(default_factory=list)

    def decide(self, sentence: str) -> None:
        self.decisions.append(sentence)
        self.display.message(f"auto: {sentence}")

    def spent(self) -> float:
        return time.monotonic() - self.started

    def left(self) -> float:
        return max(self.budget - self.spent(), 0.3 * self.budget)


def choose_recipe(
    dataset: Dataset,
    display: Display | None = None,
    budget: float | None = None,
    start: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """Look at the training images, measure for some seconds, and choose a recipe.

    The test images are not looked at.

    Args:
        dataset: where it was read from picture files without a size of the user's, the images
            are read again in the size that pays.
        display: shows each decision; by default as `train` shows its progress.
        budget: seconds of training, measurements included; by default `BUDGET_SECONDS`.
        start: the name of a backbone, the directory of a run, "scratch", or None for what
            measures best of what is installed.
        settings: values of the recipe to replace, by their dotted keys; "seed" and "validation"
            hold for the measurements as well.

    Raises:
        InputError: the classes are too small for a validation part, or `start` is neither.
    """
    settings = dict(settings or {})
    validation = float(settings.get("validation", 0.1))
    choosing = _Choosing(
        dataset=dataset,
        facts=look_at(dataset, validation),
        budget=budget or BUDGET_SECONDS,
        seed=int(settings.get("seed", 0)),
        validation=validation,
        display=display or choose_display(),
    )
    facts = choosing.facts
    choosing.decide(
        f"{facts.images:,} training images of {facts.classes} classes, "
        f"{facts.smallest_class:,} to {facts.largest_class:,} of each, "
        f"{'in color' if facts.color else 'grey'}, {facts.side} pixels a side; "
        f"{choosing.budget:g} s for all"
    )
    if facts.fixed_size:
        large = dataset
    else:
        large = at_size(dataset, min(facts.side, _largest_side(facts.images)))
    training, held_out = _parts(large, choosing)
    brief = _train_briefly(choosing, training, held_out)
    may_mirror = _decide_mirroring(choosing, brief)
    values: dict[str, Any] = {"name": "auto", "seed": choosing.seed, "validation": validation}
    values |= _decide_balance(choosing)
    name, frozen = _decide_backbone(choosing, training, brief, start)
    if name is not None and frozen is not None:
        side, chosen = _fine_tuning(choosing, name, frozen, may_mirror)
    else:
        side, chosen = _from_scratch(choosing, brief, may_mirror)
    values |= chosen
    values["stopping"] = values.get("stopping", {}) | {"budget_seconds": round(choosing.left(), 1)}
    values["decisions"] = choosing.decisions
    recipe = Recipe.check(values, "auto").override(settings)
    final = dataset if facts.fixed_size else at_size(dataset, side)
    return Plan(recipe, final)


def _largest_side(images: int) -> int:
    """What to decode many pictures to, before it is known which size pays."""
    return LARGEST_SIDE if images <= 6_000 else 96 if images <= 20_000 else 64


def _parts(dataset: Dataset, choosing: _Choosing) -> tuple[LabelledImages, LabelledImages]:
    """Some training images for measurements, and others to judge them by."""
    train = dataset.train
    if dataset.validation is None and choosing.validation:
        kept, _ = stratified_split(train.labels, choosing.validation, choosing.seed)
        train = train.take(kept)  # as the run will hold them out
    try:
        rest, judged = stratified_split(train.labels, 0.25, choosing.seed)
    except InputError:  # a class of one image, which then judges itself
        return train, train
    return train.take(rest), train.take(judged)


def _train_briefly(
    choosing: _Choosing, training: LabelledImages, held_out: LabelledImages
) -> BriefTraining:
    side = min(PILOT_SIDE, *training.images.shape[1:3])
    small, judged = (
        LabelledImages(resize_linear(np.asarray(part.images[:]), (side, side)), part.labels)
        for part in (training, held_out)
    )
    recipe = Recipe.check(_scratch_values(side, 10, len(training), False), "auto")
    seconds = BRIEF_FRACTION * choosing.budget
    classes = len(choosing.dataset.class_names)
    brief = train_briefly(recipe, small, judged, classes, seconds)
    choosing.decide(
        f"{seconds:.0f} s from scratch with {side}×{side} pixels reach {brief.accuracy:.0%} of "
        f"{brief.judged:,} images held out, at {brief.images_per_second:,.0f} images/s"
    )
    return brief


def _decide_mirroring(choosing: _Choosing, brief: BriefTraining) -> bool:
    names = [choosing.dataset.class_names[label] for label in brief.flipped_classes]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        choosing.decide(
            f"no mirrored images: mirrored, {', '.join(names[:3])}{more} are predicted as other "
            f"classes (accuracy {brief.mirrored:.0%} against {brief.accuracy:.0%})"
        )
        return False
    choosing.decide(
        "mirrored images: mirroring turns no class into another (accuracy "
        f"{brief.mirrored:.0%} against {brief.accuracy:.0%})"
    )
    return True


def _decide_balance(choosing: _Choosing) -> dict[str, Any]:
    facts = choosing.facts
    if facts.imbalance < IMBALANCED:
        return {}
    choosing.decide(
        f"the largest class has {facts.imbalance:.1f} times the images of the smallest, which is "
        f"{IMBALANCED:g} or more: classes weighted inversely to their sizes; judge by macro F1"
    )
    return {"balance": "class_weights"}


def _decide_backbone(
    choosing: _Choosing, training: LabelledImages, brief: BriefTraining, start: str | None
) -> tuple[BackboneName | None, FrozenFeatures | None]:
    """Which backbone to start from, and the size that pays; None from scratch."""
    if start == SCRATCH:
        choosing.decide("from scratch, as asked for")
        return None, None
    named = next((one for one in BACKBONES if one == start), None)
    if start is not None and named is None:
        raise InputError(
            f"auto starts from {', '.join(BACKBONES)} or {SCRATCH}, not {start}; give a recipe to "
            "start from a run, such as finetune"
        )
    name = named or next((one for one in BACKBONES if is_at_hand(one)), None)
    if name is None:
        choosing.decide("from scratch: no backbone is installed (see thumbnet[backbone])")
        return None, None
    if choosing.facts.fixed_size and choosing.facts.side < min(BACKBONE_SIDES):
        choosing.decide(f"from scratch: {name} needs larger images than {choosing.facts.side}")
        return None, None
    if named is None and brief.accuracy >= EASY:
        choosing.decide(f"from scratch, as that reaches {brief.accuracy:.0%} at once")
        return None, None
    try:
        frozen = _best_size(choosing, name, training)
    except JobError as error:
        choosing.decide(f"from scratch: {error}")
        return None, None
    if named is None and brief.accuracy >= frozen.accuracy:
        choosing.decide(
            f"from scratch: the features of {name} reach {frozen.accuracy:.0%}, no more than a "
            f"short training ({brief.accuracy:.0%})"
        )
        return None, None
    choosing.decide(
        f"starting from {name}: its features reach {frozen.accuracy:.0%} without any training of "
        f"it, against {brief.accuracy:.0%} from scratch"
    )
    return name, frozen


def _best_size(choosing: _Choosing, name: BackboneName, training: LabelledImages) -> FrozenFeatures:
    """The size with the best features among those that leave time for some epochs."""
    facts = choosing.facts
    some = training
    if len(training) > BACKBONE_IMAGES:
        fraction = BACKBONE_IMAGES / len(training)
        some = training.take(stratified_subset(training.labels, fraction, choosing.seed))
    sides = [side for side in BACKBONE_SIDES if side <= 1.25 * facts.side] or [BACKBONE_SIDES[0]]
    sides = [facts.side] if facts.fixed_size else sides
    tried: list[FrozenFeatures] = []
    for side in sides:
        found = measure_frozen_features(name, some, facts.classes, side)
        epochs = _epochs(choosing, found)
        enough = epochs >= FINETUNING_EPOCHS[0] or not tried
        choosing.decide(
            f"{side}×{side} pixels: features of {name} reach {found.accuracy:.1%} of "
            f"{len(some):,} images, by cross-validation; time for {epochs:.1f} epochs"
        )
        if enough:
            tried.append(found)
        if not enough or choosing.spent() > MEASURING_FRACTION * choosing.budget:
            break
    best = max(tried, key=lambda one: one.accuracy)
    # Half a point is no reason to spend twice the time on each image.
    return next(one for one in tried if one.accuracy >= best.accuracy - 0.005)


def _epochs(choosing: _Choosing, frozen: FrozenFeatures) -> float:
    """How many epochs of fine-tuning there is time for, once the head is fitted."""
    images, rate = choosing.facts.images, frozen.images_per_second
    return (choosing.left() - images / rate) * rate / FINETUNING_COST / images


def _fine_tuning(
    choosing: _Choosing, name: BackboneName, frozen: FrozenFeatures, may_mirror: bool
) -> tuple[int, dict[str, Any]]:
    facts, side = choosing.facts, frozen.side
    epochs = int(np.clip(round(_epochs(choosing, frozen)), 1, FINETUNING_EPOCHS[1]))
    batch = 32 if facts.images >= 1_000 else 16
    steps = epochs * max(1, facts.images // batch)
    choosing.decide(
        f"{side}×{side} pixels, head first, then {epochs} epochs of all layers, {steps:,} steps of "
        f"{batch} images, at a learning rate of "
        f"{FINETUNING_RATE:g}"
    )
    validation = choosing.dataset.validation
    judged = choosing.validation * facts.images if validation is None else len(validation)
    stopping = {}
    if judged >= VALIDATION_THAT_DECIDES and choosing.validation:
        stopping = {"patience": epochs}
        choosing.decide(f"weights of the best epoch, by {judged:.0f} validation images")
    return side, {
        "description": f"Chosen by auto: {name}, fine-tuned.",
        "epochs": epochs,
        "batch_size": batch,
        "tta_views": 2 if may_mirror else 1,
        "model": {"architecture": "backbone", "name": name},
        "start": {"weights": IMAGENET},
        "loss": {"label_smoothing": 0.1},
        "optimizer": {"name": "adamw", "learning_rate": FINETUNING_RATE, "weight_decay": 1e-4},
        "schedule": {"decay": "cosine", "warmup": 0.1},
        "augmentation": _augmentation(side, may_mirror),
        "stopping": stopping,
    }


def _from_scratch(
    choosing: _Choosing, brief: BriefTraining, may_mirror: bool
) -> tuple[int, dict[str, Any]]:
    facts = choosing.facts
    pilot = min(PILOT_SIDE, facts.side)
    needed = max(FEWEST_VISITS, FEWEST_EPOCHS * facts.images)

    def visits(side: int) -> float:
        cost = _relative_cost(side) / _relative_cost(pilot)
        return choosing.left() * brief.images_per_second / cost

    if facts.fixed_size or facts.side <= SCRATCH_SIDES[0]:
        sides = [facts.side]
    else:
        sides = [side for side in SCRATCH_SIDES if side <= facts.side]
    side = max((one for one in sides if visits(one) >= needed), default=sides[0])
    epochs = int(np.clip(round(visits(side) / facts.images), 1, MOST_EPOCHS))
    values = _scratch_values(side, epochs, facts.images, may_mirror)
    steps = epochs * max(1, facts.images // values["batch_size"])
    larger = next((one for one in sides if one > side), None)
    why = f"{facts.side} pixels are all there are"
    if larger is not None:
        why = f"at {larger} there is time for {visits(larger) / facts.images:.1f} epochs only"
    choosing.decide(
        f"{side}×{side} pixels, {epochs} epochs or {steps:,} steps of {values['batch_size']} "
        f"images: {why}"
    )
    if epochs >= MIX_FROM_EPOCHS:
        choosing.decide(f"images mixed in pairs, as each is seen {epochs} times")
    return side, values | {"description": "Chosen by auto: a network from scratch."}


def _relative_cost(side: int) -> float:
    """What an image of a size costs in training, but for a factor."""
    return side**2 * (0.55 if side > 64 else 1.0)  # beyond that the first block is narrower


def _scratch_values(side: int, epochs: int, images: int, may_mirror: bool) -> dict[str, Any]:
    """A recipe for a convolutional network; nothing in it depends on a measurement."""
    batch = 64 if images < 20_000 else 256
    batch = max(8, min(batch, images // 4))
    widths = [32, 64, 128]
    if side > 64:
        widths = [16, 32, 64, 128]
    elif side < 10:
        widths = [64, 128] if side >= 5 else [64]
    augmentation = _augmentation(side, may_mirror)
    if epochs >= MIX_FROM_EPOCHS:
        augmentation["mixup"] = 0.4
    return {
        "name": "auto",
        "epochs": epochs,
        "batch_size": batch,
        "tta_views": 6 if may_mirror else 1,
        "model": {"architecture": "cnn", "widths": widths},
        "loss": {"label_smoothing": 0.1},
        "optimizer": {"name": "muon", "learning_rate": 0.1, "momentum": 0.6, "adam_lr_ratio": 0.04},
        "augmentation": augmentation,
    }


def _augmentation(side: int, may_mirror: bool) -> dict[str, Any]:
    """Shifts of a sixteenth of the image."""
    padding = min(16, max(1, round(side / 16)))
    return {"random_crop_padding": padding, "flip": "random" if may_mirror else "none"}
