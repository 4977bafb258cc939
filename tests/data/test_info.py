import json
from dataclasses import replace

import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.data.info import describe


def test_statistics_match_the_arrays(small: Dataset) -> None:
    # More images than fit into one chunk.
    dataset = replace(small, train=small.train.take(np.arange(2500) % len(small.train)))
    info = describe(dataset)
    assert (info.name, info.source) == (dataset.name, dataset.source)
    assert info.image_shape == (32, 32, 3)
    assert info.digests == dataset.digests
    assert (info.train.images, info.test.images) == (2500, len(small.test))
    for part, those in ((info.train, dataset.train), (info.test, dataset.test)):
        images = np.asarray(those.images)
        scaled = images / 255
        assert part.value_range == (images.min(), images.max())
        assert part.channel_mean == pytest.approx(scaled.mean(axis=(0, 1, 2)))
        assert part.channel_std == pytest.approx(scaled.std(axis=(0, 1, 2)))


def test_classes_without_images_are_counted_as_zero(small: Dataset) -> None:
    frogs = small.test.take(np.flatnonzero(small.test.labels == 6))
    dataset = Dataset("frogs", small.class_names, small.train, frogs, "here")
    counts = describe(dataset).test.counts
    assert list(counts) == list(small.class_names)
    assert counts["frog"] == len(frogs)
    assert counts["cat"] == 0


def test_info_can_be_written_as_json(small: Dataset) -> None:
    values = json.loads(json.dumps(describe(small).to_dict()))
    assert values["train"]["counts"]["cat"] == int((small.train.labels == 3).sum())
    assert values["image_shape"] == [32, 32, 3]
