import numpy as np
import pytest

from thumbnet.data.dataset import Dataset
from thumbnet.engines import open_engine
from thumbnet.engines.test_time_augmentation import predict_views
from thumbnet.runs.run import Run


def test_one_view_gives_the_plain_prediction(finished_run: Run, small: Dataset) -> None:
    engine, images = open_engine(finished_run), np.asarray(small.test.images[:20])
    np.testing.assert_allclose(predict_views(engine, images, 1), engine.predict(images), rtol=1e-4)


@pytest.mark.parametrize("views", [2, 6])
def test_an_image_and_its_mirror_image_get_the_same_prediction(
    finished_run: Run, small: Dataset, views: int
) -> None:
    engine, images = open_engine(finished_run), np.asarray(small.test.images[:20])
    answers = predict_views(engine, images, views)
    assert answers.shape == (20, 10)
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-5)
    assert not np.allclose(engine.predict(images), engine.predict(images[:, :, ::-1].copy()))
    if views == 2:
        mirrored = predict_views(engine, images[:, :, ::-1].copy(), views)
        np.testing.assert_allclose(answers, mirrored, rtol=1e-4)


def test_six_views_weight_the_original_as_much_as_the_shifted_copies(
    finished_run: Run, small: Dataset
) -> None:
    engine, images = open_engine(finished_run), np.asarray(small.test.images[:5])
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    logarithms = [
        np.log(predict_views(engine, np.ascontiguousarray(view), 2))
        for view in (images, framed[:, :-2, :-2], framed[:, 2:, 2:])
    ]
    mean = logarithms[0] / 2 + (logarithms[1] + logarithms[2]) / 4
    expected = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predict_views(engine, images, 6), expected, rtol=1e-4)
