from pathlib import Path

import pytest
from PIL import Image

from thumbnet.data.dataset import Dataset
from thumbnet.engines.prediction import predict
from thumbnet.evaluation.calibration import at_temperature
from thumbnet.runs.run import Run


def test_files_get_the_saved_predictions(
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
        shares = list(answer.probabilities.values())
        assert shares == sorted(shares, reverse=True)
        assert shares[0] == pytest.approx(saved.confidence[index], abs=1e-5)
        assert set(answer.probabilities) == set(sample.class_names)


def test_a_bad_file_does_not_stop_the_others(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(sample.test.images[0]).save(good)
    bad.write_text("no image", encoding="utf-8")
    missing = tmp_path / "missing.png"
    answers = predict(finished_run.path, [bad, good, missing])
    assert [bool(answer.error) for answer in answers] == [True, False, True]
    assert "bad.png is not a picture" in answers[0].error
    assert "missing.png does not exist" in answers[2].error


def test_only_bad_files_need_no_model_call(finished_run: Run) -> None:
    assert predict(finished_run, []) == []


def test_what_is_too_uncertain_is_rejected(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    path = tmp_path / "one.png"
    Image.fromarray(sample.test.images[0]).save(path)
    (answer,) = predict(finished_run, [path])
    assert not answer.to_dict(1)["rejected"]
    assert not answer.to_dict(1, reject_below=answer.confidence)["rejected"]
    assert answer.to_dict(1, reject_below=answer.confidence + 1e-6)["rejected"]
