"""Whether to start from a pretrained backbone, and how to fine-tune it in the time left."""

from typing import Any

import numpy as np

from thumbnet.auto.decisions import Decisions
from thumbnet.auto.pilots import (
    BACKBONE_IMAGES,
    BRIEF_FRACTION,
    BriefTraining,
    FrozenFeatures,
    measure_frozen_features,
    pretrained_features,
)
from thumbnet.auto.scratch import shifts_and_flips
from thumbnet.backbones import BACKBONES, BackboneName, is_at_hand
from thumbnet.data.dataset import LabelledImages
from thumbnet.data.split import stratified_subset
from thumbnet.errors import InputError, JobError
from thumbnet.evaluation.intervals import wilson
from thumbnet.recipe import IMAGENET
from thumbnet.training.start import Features

SCRATCH = "scratch"
"""The value of `--from` for random initial weights."""

# Sides in pixels, from the one that is always measured up to those that need more time.
SIDES = (128, 160, 192, 224)
SMALLER_SIDE = 96
# A larger size must be better by this much, as each image takes half as long again.
WORTHWHILE_GAIN = 0.01
# No further size is measured once this fraction of the budget is spent.
MEASURING_FRACTION = 0.3
# A backbone has nothing to add if the accuracy of a short training from scratch is at least this,
# with 97.5% confidence: the lower end of its interval, so that three lucky images do not decide.
EASY = 0.95
# With fewer held-out images, the short training cannot be compared with a backbone.
FEWEST_JUDGED = 30

# Time of a training step in forward passes: all layers, or the top third alone. Measured with
# EfficientNet-Lite0 on two cores (benchmarks/results/own_pictures.md).
STEP_COST = {"all": 4.3, "top": 1.9}
# Tracing and compiling a training step, in seconds.
COMPILE_SECONDS = 8.0
# Training all layers pays from this many epochs on; with fewer, the top alone sees more images.
ENOUGH_EPOCHS, FEWEST_EPOCHS, MOST_EPOCHS = 8, 2, 20
# With fewer validation images, the best epoch would be the luckiest one.
VALIDATION_THAT_DECIDES = 100
LEARNING_RATE = 3e-4


def choose_backbone(
    decisions: Decisions, training: LabelledImages, brief: BriefTraining, start: str | None
) -> tuple[BackboneName, FrozenFeatures] | None:
    """Choose a backbone to start from and its image size; None from scratch.

    Args:
        decisions: those made so far.
        training: training images of every class, to measure features on.
        brief: the short training from scratch that the features have to beat.
        start: name of a backbone, "scratch", or None for the best of what is installed.

    Raises:
        InputError: `start` is neither.
    """
    if start == SCRATCH:
        decisions.add("from scratch, as requested")
        return None
    named = next((one for one in BACKBONES if one == start), None)
    if start is not None and named is None:
        raise InputError(
            f"auto starts from {', '.join(BACKBONES)} or {SCRATCH}, not {start}; to start from a "
            "run, name a recipe too, such as finetune"
        )
    name = named or next((one for one in BACKBONES if is_at_hand(one)), None)
    if name is None:
        decisions.add("from scratch: no backbone is installed (see thumbnet[backbone])")
        return None
    if decisions.facts.fixed_size and decisions.facts.side < SMALLER_SIDE:
        decisions.add(
            f"from scratch: {name} needs images larger than {decisions.facts.side} pixels"
        )
        return None
    if named is None and _is_easy(brief):
        decisions.add(f"from scratch, which reaches {brief.accuracy:.0%} within seconds")
        return None
    try:
        backbone = pretrained_features(name, training.images.shape[3])
    except JobError as error:
        decisions.add(f"from scratch: {error}")
        return None
    frozen = _best_size(decisions, name, backbone, training)
    if named is None and brief.judged >= FEWEST_JUDGED and brief.accuracy >= frozen.accuracy:
        # The short training saw all images, so the features are judged on more of them as well.
        seconds = BRIEF_FRACTION * decisions.budget
        some = _subset(training, int(seconds * frozen.images_per_second), decisions.seed)
        frozen = measure_frozen_features(backbone, some, frozen.side)
        if brief.accuracy >= frozen.accuracy:
            decisions.add(
                f"from scratch: the features of {name} classify {frozen.accuracy:.0%} of "
                f"{len(some):,} images, no more than the short training ({brief.accuracy:.0%})"
            )
            return None
    decisions.add(
        f"starting from {name}: its features reach {frozen.accuracy:.0%} without any fine-tuning, "
        f"the short training from scratch {brief.accuracy:.0%}"
    )
    return name, frozen


def _is_easy(brief: BriefTraining) -> bool:
    interval = wilson(round(brief.accuracy * brief.judged), brief.judged)
    return interval is not None and interval.low >= EASY


def choose_fine_tuning(
    decisions: Decisions, name: BackboneName, frozen: FrozenFeatures, may_mirror: bool
) -> tuple[int, dict[str, Any]]:
    """Choose the layers to train and the number of epochs.

    Returns:
        Side of the images in pixels, and the values of the recipe.
    """
    facts, side = decisions.facts, frozen.side
    layers, time_for = _time_for_epochs(decisions, frozen)
    epochs = int(np.clip(round(time_for), 1, MOST_EPOCHS))
    batch = 32 if facts.images >= 1_000 else 16
    steps = epochs * max(1, facts.images // batch)
    which = {
        "all": "all layers",
        "top": "the top third of the layers, as all of them would take more than twice as long",
    }[layers]
    decisions.add(
        f"{side}×{side} pixels: the head first, then {epochs} epochs, which is {steps:,} steps of "
        f"{batch} images, of {which}"
    )
    validation = decisions.dataset.validation
    judged = decisions.validation * facts.images if validation is None else len(validation)
    stopping = {}
    if judged >= VALIDATION_THAT_DECIDES and decisions.validation:
        stopping = {"patience": epochs}
        decisions.add(f"the weights of the best epoch on {judged:.0f} validation images")
    else:
        decisions.add(
            f"the weights of the last epoch: {judged:.0f} validation images are too few to choose "
            f"the best one by, {VALIDATION_THAT_DECIDES} would do"
        )
    return side, {
        "description": f"Chosen by auto: {name}, fine-tuned.",
        "epochs": epochs,
        "batch_size": batch,
        "tta_views": 2 if may_mirror else 1,
        "model": {"architecture": "backbone", "name": name, "trainable": layers},
        "start": {"weights": IMAGENET},
        "loss": {"label_smoothing": 0.1},
        "optimizer": {"name": "adamw", "learning_rate": LEARNING_RATE, "weight_decay": 1e-4},
        "schedule": {"decay": "cosine", "warmup": 0.1},
        "augmentation": shifts_and_flips(side, may_mirror),
        "stopping": stopping,
    }


def _subset(training: LabelledImages, images: int, seed: int) -> LabelledImages:
    """About this many of the images, at least `BACKBONE_IMAGES`, of every class."""
    fraction = max(images, BACKBONE_IMAGES) / len(training)
    if fraction >= 1:
        return training
    return training.take(stratified_subset(training.labels, fraction, seed))


def _best_size(
    decisions: Decisions, name: BackboneName, backbone: Features, training: LabelledImages
) -> FrozenFeatures:
    """The image size with the best features among those that leave time for fine-tuning."""
    facts = decisions.facts
    some = _subset(training, BACKBONE_IMAGES, decisions.seed)
    decoded = min(training.images.shape[1:3])
    sides = [side for side in SIDES if side <= 1.25 * decoded] or [SMALLER_SIDE]
    if facts.fixed_size:
        sides = [facts.side]

    def measure(side: int) -> tuple[FrozenFeatures, float]:
        found = measure_frozen_features(backbone, some, side)
        layers, epochs = _time_for_epochs(decisions, found)
        which = "all layers" if layers == "all" else "the top layers"
        decisions.add(
            f"{side}×{side} pixels: the features of {name} classify {found.accuracy:.1%} of "
            f"{len(some):,} images, by cross-validation; time for {epochs:.1f} epochs of {which}"
        )
        return found, epochs

    best, epochs = measure(sides[0])
    if epochs < FEWEST_EPOCHS and sides[0] > SMALLER_SIDE and not facts.fixed_size:
        return measure(SMALLER_SIDE)[0]
    for side in sides[1:]:
        if decisions.seconds_spent() > MEASURING_FRACTION * decisions.budget:
            break
        if epochs * (best.side / side) ** 2 < ENOUGH_EPOCHS:
            break
        found, epochs = measure(side)
        if found.accuracy < best.accuracy + WORTHWHILE_GAIN:
            break
        best = found
    return best


def _time_for_epochs(decisions: Decisions, frozen: FrozenFeatures) -> tuple[str, float]:
    """Which layers to fine-tune, and how many epochs there is time for once the head is fitted."""
    images, rate = decisions.facts.images, frozen.images_per_second
    seconds = max(0.0, decisions.seconds_left() - COMPILE_SECONDS - images / rate)
    epochs = {layers: seconds * rate / cost / images for layers, cost in STEP_COST.items()}
    layers = "all" if epochs["all"] >= ENOUGH_EPOCHS else "top"
    return layers, epochs[layers]
