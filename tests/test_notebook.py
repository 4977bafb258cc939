"""Datasets, runs and results in a notebook and as text."""

import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from PIL import Image

from thumbnet import Dataset, InputError, Predictions, Run, compare_pair, evaluate, predict
from thumbnet.data.dataset import LabelledImages
from thumbnet.figures.style import Chart
from thumbnet.runs.history import History
from thumbnet.training.progress import LiveDisplay, PlainDisplay, choose_display

MakeRun = Callable[..., Run]
HOSTILE = "<img src=x onerror=alert(1)>"


class _Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def shown(value: Any) -> str:
    """The HTML of a value, after checks that apply to all values."""
    page: str = value._repr_html_()
    tags = _Tags(page)
    assert "script" not in tags.tags
    assert not {name for name in tags.attributes if name.startswith("on")}
    assert "http" not in page
    assert len(page) < 1_000_000
    return page


def test_a_dataset_shows_images_and_its_repr_is_one_line(sample: Dataset) -> None:
    assert repr(sample) == (
        "<Dataset cifar10-sample: 5,000 train, 1,000 test images of 32×32×3, 10 classes (airplane, "
        "automobile, bird, cat, deer, …), from: bundled sample>"
    )
    page = shown(sample)
    assert page.count("data:image/png;base64,") == 16
    assert "5,000 train" in page


def test_grey_images_and_hostile_names_are_shown() -> None:
    images = np.zeros((4, 8, 8, 1), np.uint8)
    part = LabelledImages(images, np.array([0, 1, 0, 1]))
    page = shown(Dataset(HOSTILE, (HOSTILE, "b"), part, part, HOSTILE))
    assert page.count("<img") == 4
    assert HOSTILE not in page


def test_an_evaluation_shows_its_classes(finished_run: Run) -> None:
    evaluation = finished_run.evaluate()
    assert f"accuracy {evaluation.accuracy:.2%} (95% CI" in repr(evaluation)
    assert len(repr(evaluation)) < 300
    page = shown(evaluation)
    assert all(f"<td>{one.name}</td>" in page for one in evaluation.classes)
    metrics = finished_run.metrics()
    assert "confusion" not in repr(metrics)
    assert shown(metrics).count("<tr>") == 13


def test_a_run_shows_its_accuracy_and_charts(finished_run: Run, tmp_path: Path) -> None:
    accuracy = f"accuracy {finished_run.metrics().accuracy:.2%}"
    assert accuracy in repr(finished_run)
    page = shown(finished_run)
    assert accuracy in page
    assert f">{finished_run.metrics().accuracy:.1%}</span> accuracy, 95% CI" in page
    assert page.count("data:image/png;base64,") == 2
    assert "not finished" in repr(Run(tmp_path))
    assert "not finished" in shown(Run(tmp_path))
    (tmp_path / "metrics.json").write_text("{}", encoding="utf-8")
    assert "damaged" in repr(Run(str(tmp_path)))
    assert "damaged" in shown(Run(tmp_path))


def test_a_history_shows_its_curves(finished_run: Run) -> None:
    history = finished_run.history()
    assert re.fullmatch(
        r"<history of 2 epochs; last epoch: loss .*, validation_loss .*>", repr(history)
    )
    assert shown(history).count("data:image/png;base64,") == 2
    assert "0 epochs" in shown(History([]))


def test_a_comparison_shows_which_run_is_better(make_run: MakeRun) -> None:
    first, second = make_run("good", skill=4.0), make_run("poor", skill=0.5)
    pair = compare_pair("good", first.predictions(), "poor", second.predictions())
    assert "good vs poor: good is better" in repr(pair)
    page = shown(pair)
    assert f"<td>{pair.both_right:,}</td>" in page
    assert f"<td>{len(pair.only_first):,}</td>" in page


def test_the_repr_of_predictions_is_one_line(finished_run: Run) -> None:
    assert repr(finished_run.predictions()) == "<predictions of 1,000 test images, 10 classes>"


def test_long_tables_are_cut_in_the_middle() -> None:
    names = tuple(f"class {number}" for number in range(200))
    probabilities = np.full((200, 200), 1 / 200, np.float32)
    evaluation = evaluate(Predictions(probabilities, np.arange(200), np.arange(200), names))
    page = shown(evaluation)
    assert page.count("<tr>") == 21
    assert "class 0<" in page
    assert "weighted average" in page


@pytest.mark.slow
def test_arrays_files_and_folders_are_predicted_alike(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    images = sample.test.images[:3]
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    paths = [tmp_path / "folder" / f"{name}.png" for name in ("a", "b", "inner/c")]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    (tmp_path / "folder" / "notes.txt").write_text("not an image", encoding="utf-8")
    run = Run(str(finished_run.path))

    of_array = run.predict(images)
    expected = [list(one.probabilities.items()) for one in of_array]
    for given in (
        paths,
        [str(path) for path in paths],
        tmp_path / "folder",
        str(tmp_path / "folder"),
        [tmp_path / "folder"],
        images.astype(np.float32) / 255,
        images.tolist(),
        sample.test.take([0, 1, 2]),
    ):
        found = [list(one.probabilities.items()) for one in run.predict(given)]
        assert found == expected
    assert [one.path for one in of_array] == ["#0", "#1", "#2"]
    assert [one.path for one in predict(run, tmp_path / "folder")] == list(map(str, paths))
    assert of_array.probabilities.shape == (3, 10)
    assert of_array.probabilities.sum(axis=1) == pytest.approx(1)
    (one,) = run.predict(images[0])
    assert one.class_name == of_array[0].class_name


def test_arrays_of_a_different_size_are_resized_like_files(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    large = np.asarray(Image.fromarray(sample.test.images[0]).resize((90, 60)))
    Image.fromarray(large).save(tmp_path / "large.png")
    (of_file,) = finished_run.predict(tmp_path / "large.png")
    (of_array,) = finished_run.predict(large)
    assert of_array.probabilities == of_file.probabilities
    (grey,) = finished_run.predict(large[..., 0])
    assert len(grey.probabilities) == 10


def test_unusable_inputs_for_predict_are_refused(finished_run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no images"):
        finished_run.predict(tmp_path)
    with pytest.raises(InputError, match="from -1 to -1"):
        finished_run.predict(np.full((2, 32, 32, 3), -1.0))
    with pytest.raises(InputError, match="did not finish"):
        Run(tmp_path).predict(np.zeros((1, 32, 32, 3), np.uint8))


def test_predictions_and_histories_become_data_frames(
    finished_run: Run, sample: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pandas = pytest.importorskip("pandas")
    Image.fromarray(sample.test.images[0]).save(tmp_path / "good.png")
    found = finished_run.predict([tmp_path / "good.png", tmp_path / "missing.png"])
    frame = found.to_frame()
    assert list(frame.columns[:4]) == ["path", "class_name", "probability", "error"]
    assert list(frame.columns[4:]) == list(sample.class_names)
    assert frame["class_name"].tolist() == [found[0].class_name, ""]
    assert pandas.isna(frame["probability"][1])
    assert "does not exist" in frame["error"][1]
    assert shown(found).count("<tr>") == 3
    history = finished_run.history().to_frame()
    assert history["epoch"].tolist() == [1, 2]
    assert history["loss"].tolist() == finished_run.history().series("loss")[1]

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"needs pandas, which is not installed: .*\[pandas\]"):
        found.to_frame()


def test_charts_are_figures_and_draw_in_the_axes_of_the_user(
    finished_run: Run, sample: Dataset
) -> None:
    plot = finished_run.plot
    for draw in (
        plot.learning,
        plot.confusion,
        plot.class_f1,
        plot.reliability,
        plot.risk_coverage,
    ):
        assert isinstance(draw(), Chart)
        figure, axes = pyplot.subplots()
        try:
            assert draw(ax=axes) is figure
            assert axes.has_data()
            assert len(figure.axes) == 1
        finally:
            pyplot.close(figure)
    assert isinstance(plot.samples(sample, 4), Chart)
    assert isinstance(plot.mistakes(sample, 4), Chart)


def test_charts_of_missing_results_are_refused(finished_run: Run, small: Dataset) -> None:
    plot = finished_run.plot
    with pytest.raises(InputError, match=r"the history of .* has no top_5_accuracy; it has: epoch"):
        plot.learning("top_5_accuracy")
    with pytest.raises(InputError, match="thumbnet robustness"):
        plot.corruptions()
    with pytest.raises(InputError, match="was tested on different images"):
        plot.mistakes(small)


@pytest.mark.parametrize(
    ("has_widgets", "kind"), [(True, LiveDisplay), (False, PlainDisplay)], ids=["bar", "lines"]
)
def test_progress_is_a_bar_in_a_notebook_with_ipywidgets(
    monkeypatch: pytest.MonkeyPatch, has_widgets: bool, kind: type
) -> None:
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setattr(
        "thumbnet.training.progress.find_spec", lambda name: name if has_widgets else None
    )
    assert type(choose_display()) is kind


def test_progress_is_plain_lines_outside_a_notebook() -> None:
    assert type(choose_display()) is PlainDisplay
