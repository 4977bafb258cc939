import json

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.data.info import describe


def test_the_numbers_are_those_of_the_arrays(sample: Dataset) -> None:
    info = describe(sample)
    assert (info.name, info.source) == ("cifar10-sample", "bundled sample")
    assert info.image_shape == (32, 32, 3)
    assert info.digests == sample.digests
    assert (info.train.images, info.test.images) == (5000, 1000)
    for part, images in ((info.train, sample.train.images), (info.test, sample.test.images)):
        scaled = images / 255
        assert part.value_range == (images.min(), images.max())
        assert part.channel_mean == pytest.approx(scaled.mean(axis=(0, 1, 2)))
        assert part.channel_deviation == pytest.approx(scaled.std(axis=(0, 1, 2)))


def test_classes_are_counted_even_where_there_are_none(small: Dataset) -> None:
    frogs = small.test.take(np.flatnonzero(small.test.labels == 6))
    dataset = Dataset("frogs", small.class_names, small.train, frogs, "here")
    counts = describe(dataset).test.counts
    assert list(counts) == list(small.class_names)
    assert counts["frog"] == len(frogs)
    assert counts["cat"] == 0


def test_it_goes_into_json(small: Dataset) -> None:
    values = json.loads(json.dumps(describe(small).to_dict()))
    assert values["train"]["counts"]["cat"] == int((small.train.labels == 3).sum())
    assert values["image_shape"] == [32, 32, 3]
