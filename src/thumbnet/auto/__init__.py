"""Choosing a recipe for images that nobody has tried yet, by looking at them and by measuring."""

from thumbnet.auto.choose import Plan as Plan
from thumbnet.auto.choose import choose_recipe as choose_recipe
from thumbnet.auto.finetuning import SCRATCH as SCRATCH
