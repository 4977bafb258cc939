import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from thumbnet.auto import SCRATCH, choose_recipe
from thumbnet.auto.decisions import Decisions
from thumbnet.auto.facts import Facts, at_size, look_at
from thumbnet.auto.finetuning import choose_backbone, choose_fine_tuning
from thumbnet.auto.pilots import BriefTraining, FrozenFeatures, flipped_classes
from thumbnet.data.dataset import Dataset
from thumbnet.data.load import load
from thumbnet.errors import InputError
from thumbnet.recipe import Recipe
from thumbnet.training.progress import SilentDisplay


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of scanned digits of 24 pixels a side, with few nines."""
    folder = tmp_path_factory.mktemp("digits")
    images, labels = load_digits(return_X_y=True)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        if label == 9 and number % 4:
            continue
        (folder / str(label)).mkdir(exist_ok=True)
        picture = Image.fromarray((pixels.reshape(8, 8) * 15.9).astype(np.uint8))
        picture.resize((24, 24)).save(folder / str(label) / f"{number:04d}.png")
    return folder


@pytest.mark.slow
def test_digits_are_not_mirrored_and_rare_ones_weighted(digits: Path) -> None:
    plan = choose_recipe(load(digits), SilentDisplay(), budget=1.0, start=SCRATCH)

    assert plan.recipe.augmentation.flip == "none"
    assert plan.recipe.tta_views == 1
    assert plan.recipe.balance == "class_weights"
    assert plan.recipe.start.weights == ""
    assert plan.dataset.image_shape == (24, 24, 1)
    said = "\n".join(plan.recipe.decisions)
    assert "24 pixels a side" in said
    assert "no horizontal flips: " in said
    assert re.search(r"the largest class has [34]\.\d times the images of the smallest", said)
    assert "from scratch, as requested" in said
    assert Recipe.parse(plan.recipe.to_toml(), "the run") == plan.recipe


@pytest.mark.slow
def test_settings_replace_what_auto_chose(sample: Dataset) -> None:
    settings = {"seed": 3, "epochs": 2, "validation": 0.2}

    plan = choose_recipe(sample, SilentDisplay(), 1.0, SCRATCH, settings)

    assert (plan.recipe.seed, plan.recipe.epochs, plan.recipe.validation) == (3, 2, 0.2)
    assert plan.dataset is sample  # its images are not in files that could be read in another size


@pytest.mark.slow
def test_an_unknown_start_is_refused(sample: Dataset) -> None:
    with pytest.raises(InputError, match="auto starts from efficientnet_lite0"):
        choose_recipe(sample, SilentDisplay(), 1.0, "resnet")


@pytest.mark.slow
def test_facts_come_from_the_image_files(digits: Path, sample: Dataset) -> None:
    small = load(digits, image_size=8)

    assert look_at(load(digits), 0.1).side == 24
    assert look_at(small, 0.1).fixed_size  # as the user chose it
    assert look_at(sample, 0.5).images == len(sample.train) // 2
    larger = at_size(load(digits), 30)
    assert larger.image_shape == (30, 30, 1)
    assert np.array_equal(larger.test.labels, small.test.labels)


def test_a_class_that_changes_when_mirrored_is_found() -> None:
    labels = np.repeat([0, 1, 2], 10)
    upright = labels.copy()
    mirrored = labels.copy()
    mirrored[10:18] = 2  # most of class 1 is taken for class 2
    mirrored[20:23] = 1  # three of class 2, as may happen

    assert flipped_classes(labels, upright, mirrored) == (1,)
    upright[10:16] = 0  # a class that is not recognised upright says nothing
    assert flipped_classes(labels, upright, mirrored) == ()


@pytest.mark.slow
def test_a_backbone_given_by_name_is_fine_tuned(sample: Dataset, tmp_path: Path) -> None:
    for index in range(160):
        folder = tmp_path / sample.class_names[sample.train.labels[index]]
        folder.mkdir(exist_ok=True)
        picture = Image.fromarray(sample.train.images[index])
        picture.resize((128, 128)).save(folder / f"{index}.png")

    plan = choose_recipe(load(tmp_path), SilentDisplay(), 10.0, "efficientnet_lite0")

    assert plan.recipe.model.architecture == "backbone"
    assert plan.recipe.start.weights == "imagenet"
    assert plan.dataset.image_shape[0] in (96, 128, 160)
    said = "\n".join(plan.recipe.decisions)
    assert "by cross-validation" in said
    assert "starting from efficientnet_lite0" in said


@pytest.mark.slow
def test_a_few_lucky_images_do_not_rule_out_a_backbone(sample: Dataset) -> None:
    facts = Facts(20, 10, 2, 2, 128, fixed_size=False, color=True)
    decisions = Decisions(sample, facts, 20.0, 0, 0.1, SilentDisplay())
    lucky = BriefTraining(1.0, 500.0, 1.0, (), judged=3)
    certain = BriefTraining(1.0, 500.0, 1.0, (), judged=300)
    few = sample.train.take(range(100))

    assert choose_backbone(decisions, few, lucky, None) is not None
    assert choose_backbone(decisions, few, certain, None) is None


@pytest.mark.parametrize(("images", "layers"), [(200, "all"), (2_000, "top")])
def test_less_is_trained_where_there_is_less_time_for_each_image(
    sample: Dataset, images: int, layers: str
) -> None:
    facts = Facts(images, 10, images // 10, images // 10, 128, fixed_size=False, color=True)
    decisions = Decisions(sample, facts, 60.0, 0, 0.1, SilentDisplay())
    frozen = FrozenFeatures(side=128, accuracy=0.8, images_per_second=200.0)

    side, values = choose_fine_tuning(decisions, "efficientnet_lite0", frozen, may_mirror=True)

    assert side == 128
    assert values["model"]["trainable"] == layers
    assert values["augmentation"]["flip"] == "random"
    judged_by_enough = images * 0.1 >= 100
    assert bool(values["stopping"]) == judged_by_enough
