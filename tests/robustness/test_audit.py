import numpy as np

from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.robustness.audit import near_duplicates


def test_copies_are_found_however_they_were_changed(small: Dataset) -> None:
    images = small.test.images[:6].copy()
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


def test_different_pictures_are_no_duplicates(sample: Dataset) -> None:
    rows = near_duplicates(sample)
    assert len(rows) < 0.02 * len(sample.test)
    assert all(row["similarity"] >= 0.95 for row in rows)
