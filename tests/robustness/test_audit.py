from dataclasses import replace

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.stored import StoredImages
from thumbnet.robustness.audit import near_duplicates


def test_changed_copies_are_found(small: Dataset) -> None:
    images = np.array(small.test.images[:6])
    images[0] = small.train.images[10]
    images[1] = small.train.images[20][:, ::-1]
    dark = small.train.images[30].astype(float) * 0.7 + 10
    images[2] = dark.astype(np.uint8)
    test = LabelledImages(images, small.test.labels[:6])
    changed = Dataset("changed", small.class_names, small.train, test, "test")
    rows = {row["test_image"]: row for row in near_duplicates(changed)}
    assert {0, 1, 2} <= set(rows)
    assert [rows[i]["train_image"] for i in range(3)] == [10, 20, 30]
    assert [rows[i]["identical"] for i in range(3)] == [True, False, False]
    assert [rows[i]["mirrored"] for i in range(3)] == [False, True, False]
    assert rows[0]["train_label"] == small.class_names[small.train.labels[10]]


def test_different_images_are_not_duplicates(sample: Dataset) -> None:
    rows = near_duplicates(sample)
    assert len(rows) < 0.02 * len(sample.test)
    assert all(row["similarity"] >= 0.95 for row in rows)


@pytest.mark.parametrize("count", [1, 8, 40])
def test_few_test_images_without_candidates_have_no_near_duplicates(
    small: Dataset, count: int
) -> None:
    # Noise resembles no image, so that there are no candidates to compare at full size.
    noise = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    test = LabelledImages(noise, small.test.labels[:count])
    assert near_duplicates(replace(small, test=test)) == []


def test_images_on_disk_are_audited_like_images_in_memory(small: Dataset) -> None:
    test = LabelledImages(np.array(small.train.images[:20]), small.train.labels[:20])
    in_memory = replace(small, test=test)
    in_file = replace(in_memory, train=stored(small.train), test=stored(test))
    rows = near_duplicates(in_file)
    assert len(rows) >= 20
    assert rows == near_duplicates(in_memory)


def stored(part: LabelledImages) -> LabelledImages:
    """The same images on disk, in the same order."""
    count = len(part)
    images = StoredImages(np.asarray(part.images)[::-1], np.arange(count)[::-1])
    return replace(part, images=images)
