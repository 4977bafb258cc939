"""From the facts and the measurements to a recipe, with a sentence for each decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from thumbnet.auto.decisions import Decisions
from thumbnet.auto.facts import at_size, look_at
from thumbnet.auto.finetuning import choose_backbone, choose_fine_tuning
from thumbnet.auto.pilots import BRIEF_FRACTION, BriefTraining, train_briefly
from thumbnet.auto.scratch import PILOT_SIDE, choose_scratch, scratch_values
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.resizing import resize_linear
from thumbnet.data.split import stratified_split
from thumbnet.errors import InputError
from thumbnet.recipe import Recipe
from thumbnet.training.progress import Display, choose_display

BUDGET_SECONDS = 180.0
"""Training time, the measurements before it included."""

# From this ratio of class sizes on, the larger class would outvote the smaller one.
IMBALANCED = 2.0


@dataclass(frozen=True)
class Plan:
    """A recipe, and the images in the size that it was chosen for."""

    recipe: Recipe
    dataset: Dataset


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
        dataset: if it was read from image files without an image size chosen by the user, the
            files are read again in the size that pays.
        display: shows each decision; by default as `train` shows its progress.
        budget: seconds of training, measurements included; by default `BUDGET_SECONDS`.
        start: the name of a backbone, "scratch", or None for the better of scratch and the first
            backbone that is installed.
        settings: values of the recipe to replace, by their dotted keys; "seed" and "validation"
            apply to the measurements too.

    Raises:
        InputError: the classes are too small for a validation split, or `start` is unknown.
    """
    settings = dict(settings or {})
    validation = float(settings.get("validation", 0.1))
    display = display or choose_display()
    facts = look_at(dataset, validation)
    large = dataset if facts.fixed_size else at_size(dataset, facts.largest_useful_side)
    decisions = Decisions(
        dataset=large,
        facts=facts,
        budget=budget or BUDGET_SECONDS,
        seed=int(settings.get("seed", 0)),
        validation=validation,
        display=display,
    )
    decisions.add(
        f"{facts.images:,} training images of {facts.classes} classes, "
        f"{facts.smallest_class:,} to {facts.largest_class:,} of each, "
        f"{'in color' if facts.color else 'grey'}, {facts.side} pixels a side; "
        f"{decisions.budget:g} s for measurements and training"
    )
    training, held_out = _splits(decisions)
    brief = _train_briefly(decisions, training, held_out)
    may_mirror = _decide_mirroring(decisions, brief)
    values: dict[str, Any] = {"name": "auto", "seed": decisions.seed, "validation": validation}
    values |= _decide_balance(decisions)
    backbone = choose_backbone(decisions, training, brief, start)
    if backbone is None:
        side, chosen = choose_scratch(decisions, brief, may_mirror)
    else:
        side, chosen = choose_fine_tuning(decisions, *backbone, may_mirror)
    values |= chosen
    budget_seconds = round(decisions.seconds_left(), 1)
    values["stopping"] = values.get("stopping", {}) | {"budget_seconds": budget_seconds}
    values["decisions"] = decisions.sentences
    recipe = Recipe.check(values, "auto").override(settings)
    return Plan(recipe, dataset if facts.fixed_size else at_size(large, side))


def _splits(decisions: Decisions) -> tuple[LabelledImages, LabelledImages]:
    """Training images to measure with, and others to judge by."""
    train = decisions.dataset.train
    if decisions.dataset.validation is None and decisions.validation:
        kept, _ = stratified_split(train.labels, decisions.validation, decisions.seed)
        train = train.take(kept)  # leaves out what the run will hold out
    try:
        rest, judged = stratified_split(train.labels, 0.25, decisions.seed)
    except InputError:  # a class has a single image, so the images have to judge themselves
        return train, train
    return train.take(rest), train.take(judged)


def _train_briefly(
    decisions: Decisions, training: LabelledImages, held_out: LabelledImages
) -> BriefTraining:
    side = min(PILOT_SIDE, *training.images.shape[1:3])
    small, judged = (
        LabelledImages(resize_linear(np.asarray(split.images[:]), (side, side)), split.labels)
        for split in (training, held_out)
    )
    recipe = Recipe.check(scratch_values(side, 10, len(training), False), "auto")
    seconds = BRIEF_FRACTION * decisions.budget
    classes = len(decisions.dataset.class_names)
    brief = train_briefly(recipe, small, judged, classes, seconds)
    decisions.add(
        f"{seconds:.0f} s of training from scratch at {side}×{side} pixels: {brief.accuracy:.0%} "
        f"of {brief.judged:,} held-out images, at {brief.images_per_second:,.0f} images/s"
    )
    return brief


def _decide_mirroring(decisions: Decisions, brief: BriefTraining) -> bool:
    names = [decisions.dataset.class_names[label] for label in brief.flipped_classes]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        decisions.add(
            f"no horizontal flips: mirrored images of {', '.join(names[:3])}{more} are classified "
            f"differently (accuracy {brief.mirrored:.0%} instead of {brief.accuracy:.0%})"
        )
        return False
    decisions.add(
        "horizontal flips: mirroring turns no class into another (accuracy "
        f"{brief.mirrored:.0%} mirrored, {brief.accuracy:.0%} as they are)"
    )
    return True


def _decide_balance(decisions: Decisions) -> dict[str, Any]:
    facts = decisions.facts
    if facts.imbalance < IMBALANCED:
        return {}
    decisions.add(
        f"the largest class has {facts.imbalance:.1f} times the images of the smallest, which is "
        f"{IMBALANCED:g} or more: classes weighted inversely to their size; judge by macro F1"
    )
    return {"balance": "class_weights"}
