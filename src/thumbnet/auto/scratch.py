"""The recipe for a convolutional network trained from scratch."""

from typing import Any

import numpy as np

from thumbnet.auto.decisions import Decisions
from thumbnet.auto.pilots import BriefTraining

# Sides in pixels.
SIDES = (32, 48, 64, 96)
PILOT_SIDE = 32
# A larger image size pays only if the network still sees this many images, and each this often.
FEWEST_IMAGES_SEEN, FEWEST_EPOCHS = 10_000, 8
MOST_EPOCHS = 150
# Mixed images are harder to learn, which pays once each image has been seen about this often.
MIX_FROM_EPOCHS = 30


def choose_scratch(
    decisions: Decisions, brief: BriefTraining, may_mirror: bool
) -> tuple[int, dict[str, Any]]:
    """Choose the image size and the number of epochs.

    Returns:
        Side of the images in pixels, and the values of the recipe.
    """
    facts = decisions.facts
    pilot = min(PILOT_SIDE, facts.side)
    needed = max(FEWEST_IMAGES_SEEN, FEWEST_EPOCHS * facts.images)

    def images_seen(side: int) -> float:
        cost = _relative_cost(side) / _relative_cost(pilot)
        return decisions.seconds_left() * brief.images_per_second / cost

    if facts.fixed_size or facts.side <= SIDES[0]:
        sides = [facts.side]
    else:
        sides = [side for side in SIDES if side <= facts.side]
    side = max((one for one in sides if images_seen(one) >= needed), default=sides[0])
    epochs = int(np.clip(round(images_seen(side) / facts.images), 1, MOST_EPOCHS))
    values = scratch_values(side, epochs, facts.images, may_mirror)
    steps = epochs * max(1, facts.images // values["batch_size"])
    larger = next((one for one in sides if one > side), None)
    if larger is not None:
        left = images_seen(larger) / facts.images
        why = f"{larger}×{larger} would leave time for only {left:.1f} epochs"
    elif side < facts.side:
        why = "the largest size that pays within minutes"
    else:
        why = f"the images have no more than {facts.side} pixels a side"
    decisions.add(
        f"{side}×{side} pixels, {epochs} epochs, which is {steps:,} steps of "
        f"{values['batch_size']} images: {why}"
    )
    if epochs >= MIX_FROM_EPOCHS:
        decisions.add(f"mixup, since each image is seen {epochs} times")
    return side, values | {"description": "Chosen by auto: a network trained from scratch."}


def scratch_values(side: int, epochs: int, images: int, may_mirror: bool) -> dict[str, Any]:
    """A recipe for a convolutional network, before anything has been measured.

    Args:
        side: height and width of the images in pixels.
        epochs: passes over the training images.
        images: number of training images.
        may_mirror: whether a mirror image belongs to the same class.
    """
    batch = 64 if images < 20_000 else 256
    batch = max(8, min(batch, images // 4))
    widths = [32, 64, 128]
    if side > 64:
        widths = [16, 32, 64, 128]
    elif side < 10:
        widths = [64, 128] if side >= 5 else [64]
    augmentation = shifts_and_flips(side, may_mirror)
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


def shifts_and_flips(side: int, may_mirror: bool) -> dict[str, Any]:
    """The `[augmentation]` table with shifts of a sixteenth of the image."""
    padding = min(16, max(1, round(side / 16)))
    return {"random_crop_padding": padding, "flip": "random" if may_mirror else "none"}


def _relative_cost(side: int) -> float:
    """Training time per image at a size, up to a constant factor."""
    return side**2 * (0.55 if side > 64 else 1.0)  # larger images get a narrower first block
