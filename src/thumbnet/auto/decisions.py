"""The decisions made so far for one dataset, and the time they took."""

import time
from dataclasses import dataclass, field

from thumbnet.auto.facts import Facts
from thumbnet.data.dataset import Dataset
from thumbnet.training.progress import Display

# Training keeps at least this fraction of the budget, however slow the measurements were.
FEWEST_LEFT = 0.3


@dataclass
class Decisions:
    """What has been decided so far for a dataset.

    Attributes:
        dataset: the images, in the largest size that may be chosen.
        facts: sizes and counts.
        budget: seconds for measurements and training together.
        seed: the seed of the recipe.
        validation: fraction of the training split that the recipe will hold out.
        display: shows each decision as it is made.
        sentences: the decisions.
    """

    dataset: Dataset
    facts: Facts
    budget: float
    seed: int
    validation: float
    display: Display
    sentences: list[str] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    def add(self, sentence: str) -> None:
        """Record a decision and show it."""
        self.sentences.append(sentence)
        self.display.message(f"auto: {sentence}")

    def seconds_spent(self) -> float:
        """Seconds since the first measurement began."""
        return time.monotonic() - self._started

    def seconds_left(self) -> float:
        """Seconds left for training."""
        return max(self.budget - self.seconds_spent(), FEWEST_LEFT * self.budget)
