from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thumbnet.data.dataset import Dataset, UInt8Array
from thumbnet.engines.contract import predict_in_batches
from thumbnet.engines.prediction import predict
from thumbnet.evaluation.calibration import at_temperature
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.runs.run import Run


def test_predictions_for_files_match_the_saved_ones(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for index, path in enumerate(paths):
        Image.fromarray(sample.test.images[index]).save(path)
    answers = predict(finished_run, paths)
    saved = at_temperature(finished_run.predictions(), finished_run.temperature())
    for index, answer in enumerate(answers):
        assert answer.path == str(paths[index])
        assert answer.class_name == sample.class_names[saved.predicted[index]]
        probabilities = list(answer.probabilities.values())
        assert probabilities == sorted(probabilities, reverse=True)
        assert probabilities[0] == pytest.approx(saved.confidence[index], abs=1e-5)
        assert set(answer.probabilities) == set(sample.class_names)


def test_a_bad_file_does_not_affect_the_others(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(sample.test.images[0]).save(good)
    bad.write_text("not an image", encoding="utf-8")
    missing = tmp_path / "missing.png"
    answers = predict(finished_run.path, [bad, good, missing])
    assert [bool(answer.error) for answer in answers] == [True, False, True]
    assert "bad.png is not an image" in answers[0].error
    assert "missing.png does not exist" in answers[2].error


def test_the_pixels_per_batch_are_limited_for_images_of_any_size() -> None:
    seen: list[int] = []

    def answer(batch: UInt8Array) -> Float32Array:
        seen.append(batch.size)
        return np.full((len(batch), 2), 0.5, np.float32)

    for side, count in ((8, 600), (32, 600), (224, 25), (1_000, 2)):
        images = np.zeros((count, side, side, 3), np.uint8)
        answers = predict_in_batches(answer, images, (side, side, 3), classes=2)
        assert answers.shape == (count, 2)
    assert max(seen) == 1_000 * 1_000 * 3  # one image, the smallest batch
    assert sorted(seen)[-3] <= 500 * 32 * 32 * 3


def test_predictions_for_many_files_are_in_order(
    finished_run: Run, sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thumbnet.engines.prediction.prediction_batch", lambda shape: 2)
    paths = [tmp_path / f"{index}.png" for index in range(5)]
    for index, path in enumerate(paths):
        Image.fromarray(sample.test.images[index]).save(path)
    answers = predict(finished_run, [*paths[:3], tmp_path / "missing.png", *paths[3:]])
    assert [answer.path for answer in answers if not answer.error] == list(map(str, paths))
    predicted = finished_run.predictions().predicted[:5]
    assert [answer.class_name for answer in answers if not answer.error] == [
        sample.class_names[number] for number in predicted
    ]


def test_no_files_give_no_predictions(finished_run: Run) -> None:
    assert predict(finished_run, []) == []


def test_uncertain_predictions_are_rejected(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(sample.test.images[0]).save(path)
    (answer,) = predict(finished_run, [path])
    assert not answer.to_dict(1)["rejected"]
    assert not answer.to_dict(1, reject_below=answer.confidence)["rejected"]
    assert answer.to_dict(1, reject_below=answer.confidence + 1e-6)["rejected"]
