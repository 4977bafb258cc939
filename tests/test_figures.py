import io
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image

from thumbnet.data.dataset import Dataset, UInt8Array
from thumbnet.errors import InputError, JobError
from thumbnet.evaluation.calibration import expected_calibration_error
from thumbnet.evaluation.metrics import evaluate
from thumbnet.evaluation.mistakes import most_confident_mistakes
from thumbnet.evaluation.predictions import Predictions
from thumbnet.figures import (
    class_f1_chart,
    confusion_chart,
    image_grid,
    learning_curve,
    predicted_grid,
    reliability_chart,
    samples_grid,
    save_figure,
    write_figures,
)
from thumbnet.figures.charts import reliability_of
from thumbnet.figures.glyphs import _fonts_for
from thumbnet.figures.style import LONGEST_LABEL, Chart, label
from thumbnet.runs.history import History
from thumbnet.runs.run import Run


def predictions_of(classes: int = 10, images: int = 300, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    labels = np.arange(images, dtype=np.int64) % classes
    logits = generator.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = tuple(f"class {number}" for number in range(classes))
    return Predictions(probabilities.astype(np.float32), labels, np.arange(images), names)


def points(line: Line2D) -> npt.NDArray[np.float64]:
    return np.asarray(line.get_xydata(), dtype=np.float64)


def drawn_images(figure: Figure) -> UInt8Array:
    return np.array([image.get_array() for image in figure.axes[0].images])


@given(st.integers(2, 12), st.integers(1, 80), st.integers(0, 1000))
def test_reliability_counts_every_image_once(classes: int, images: int, seed: int) -> None:
    predictions = predictions_of(classes, images, seed)
    bins = reliability_of(predictions)

    assert bins.images.sum() == images
    assert bins.images.min() > 0
    assert (np.diff(bins.confidence) > 0).all()
    assert bins.accuracy @ bins.images == pytest.approx(predictions.correct.sum())
    error = np.abs(bins.accuracy - bins.confidence) @ bins.images / images
    assert error == pytest.approx(
        expected_calibration_error(predictions.confidence, predictions.correct), abs=1e-6
    )


def test_learning_curve_shows_the_history() -> None:
    histories = {
        "_a": History.of(
            [{"epoch": 1, "loss": 2.0, "validation_loss": 2.5}, {"epoch": 2, "loss": 1.0}]
        ),
        "b": History.of([{"epoch": 1, "loss": 3.0}]),
    }
    figure = learning_curve(histories, "loss")

    lines = [points(line) for line in figure.axes[0].lines]
    assert np.array_equal(lines[0], [(1, 2.0), (2, 1.0)])
    assert np.array_equal(lines[1], [(1, 2.5)])
    assert np.array_equal(lines[2], [(1, 3.0)])
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["_a", "b", "training", "validation"]


def test_confusion_chart_shows_percent_and_number_of_images() -> None:
    evaluation = evaluate(predictions_of())
    axes = confusion_chart(evaluation).axes[0]

    count = evaluation.confusion[3][3]
    inside = [t.get_text() for t in axes.texts if round(t.get_position()[0]) == 3]
    assert f"{100 * count / 30:.0f}" in inside
    assert f"{count}" in inside
    assert [t.get_text() for t in axes.get_yticklabels()] == list(predictions_of().class_names)


@pytest.mark.slow
def test_charts_of_a_thousand_classes_have_a_limited_size(tmp_path: Path) -> None:
    evaluation = evaluate(predictions_of(classes=1_000, images=2_000))
    for number, figure in enumerate(
        (confusion_chart(evaluation), class_f1_chart({"a": evaluation}))
    ):
        assert max(figure.get_size_inches()) < 16
        assert len(figure.axes[0].get_yticklabels()) <= 100
        save_figure(figure, tmp_path / f"{number}.svg")


def test_confusion_chart_of_a_hundred_classes_has_labels_and_no_numbers(tmp_path: Path) -> None:
    evaluation = evaluate(predictions_of(classes=100))
    figure = confusion_chart(evaluation)
    save_figure(figure, tmp_path / "confusion.svg")

    axes = figure.axes[0]
    assert not axes.texts
    assert len(axes.get_xticklabels()) == 100
    assert (tmp_path / "confusion.svg").stat().st_size < 500_000
    boxes = [t.get_window_extent() for t in axes.get_yticklabels()]
    assert not any(upper.overlaps(lower) for upper, lower in pairwise(boxes))


def test_class_f1_chart_puts_the_best_class_on_top() -> None:
    evaluation = evaluate(predictions_of())
    axes = class_f1_chart({"a": evaluation, "b": evaluate(predictions_of(seed=1))}).axes[0]

    best = max(evaluation.classes, key=lambda scores: scores.f1 or 0)
    assert axes.get_yticklabels()[-1].get_text() == best.name
    assert points(axes.lines[0])[-1, 0] == pytest.approx(best.f1)


def test_reliability_chart_omits_bins_with_few_images() -> None:
    predictions = predictions_of()
    above, below = reliability_chart({"a": predictions}).axes

    bins = reliability_of(predictions)
    assert len(points(above.lines[1])) == (bins.images >= 10).sum() < len(bins.images)
    assert len(points(below.lines[0])) == len(bins.images)


def test_image_grid_shows_the_pixels(sample: Dataset, tmp_path: Path) -> None:
    images = sample.test.images[:5]
    figure = image_grid(images, ["a", "b", "c", "d", "$e$"], columns=3)

    assert np.array_equal(drawn_images(figure), images)
    assert figure.axes[0].texts[-1].get_text() == "$e$"
    save_figure(figure, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        width, height = picture.size
    assert 1.1 < width / height < 1.4  # three columns, two rows with captions


def test_image_grid_accepts_grey_images(sample: Dataset) -> None:
    figure = image_grid(sample.test.images[:2][..., :1], ["a", "b"])
    assert drawn_images(figure).shape == (2, 32, 32)


def test_image_grid_refuses_invalid_input(sample: Dataset) -> None:
    with pytest.raises(InputError, match="0 images"):
        image_grid(sample.test.images[:0], [])
    with pytest.raises(InputError, match="2 captions"):
        image_grid(sample.test.images[:3], ["a", "b"])
    with pytest.raises(InputError, match="show fewer"):
        image_grid(np.zeros((900, 32, 32, 3), np.uint8), [""] * 900, columns=900)


def test_grids_show_the_images_that_were_predicted(small: Dataset) -> None:
    predictions = predictions_of(images=len(small.test))
    mistakes = predicted_grid(predictions, small.test, most_confident_mistakes(predictions, 3))
    samples = samples_grid(predictions, small.test, count=4)

    surest = int((predictions.confidence * ~predictions.correct).argmax())
    assert np.array_equal(drawn_images(mistakes)[0], small.test.images[surest])
    assert len(drawn_images(samples)) == 4


@given(st.text(max_size=60))
def test_labels_are_short_and_printable(name: str) -> None:
    shown = label(name)
    assert len(shown) <= LONGEST_LABEL
    assert shown.isprintable()
    assert shown == name or len(name) > LONGEST_LABEL or not name.isprintable()


def test_charts_show_names_unchanged(tmp_path: Path) -> None:
    names = ("$x_1$", "<b>&", "_under", "漢字", "a · b")
    probabilities = np.full((5, 5), 0.2, np.float32)
    predictions = Predictions(probabilities, np.arange(5), np.arange(5), names)
    save_figure(confusion_chart(evaluate(predictions)), tmp_path / "chart.svg")

    texts = {element.text for element in ElementTree.parse(tmp_path / "chart.svg").iter()}
    assert {"$x_1$", "<b>&", "_under", "漢字", "a · b"} <= texts


def test_letters_without_a_font_are_escaped_in_bitmaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "thumbnet.figures.glyphs._NO_LETTERS", ("",)
    )  # as if there were no other font
    _fonts_for.cache_clear()
    saved: list[list[UInt8Array]] = []
    for names in (("漢字", "кот"), ("\\u6f22\\u5b57", "кот")):
        grid = image_grid(np.zeros((2, 8, 8, 3), np.uint8), names, columns=2)
        chart = confusion_chart(evaluate(replace(predictions_of(classes=2), class_names=names)))
        for figure, file in ((grid, "grid.png"), (chart, "chart.png")):
            save_figure(figure, tmp_path / file)
            assert names[0] in {text.get_text() for text in figure.findobj(Text)}
        saved.append([np.asarray(Image.open(tmp_path / f)) for f in ("grid.png", "chart.png")])
    for chinese, numbers in zip(*saved, strict=True):
        np.testing.assert_array_equal(chinese, numbers)


def test_save_figure_gives_the_same_bytes_again(tmp_path: Path) -> None:
    for suffix in ("svg", "png", "pdf"):
        for name in ("first", "second"):
            figure = learning_curve({"a": History.of([{"epoch": 1, "loss": 2.0}])})
            save_figure(figure, tmp_path / f"{name}.{suffix}")
        first, second = (tmp_path / f"{name}.{suffix}" for name in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_save_figure_refuses_other_formats_and_unwritable_paths(tmp_path: Path) -> None:
    figure = learning_curve({}, "loss")
    with pytest.raises(InputError, match=r"ends in \.png"):
        save_figure(figure, tmp_path / "figure.docx")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JobError, match="cannot write"):
        save_figure(figure, tmp_path / "file" / "figure.svg")


@pytest.mark.slow
def test_write_figures(tmp_path: Path, small: Dataset) -> None:
    run, predictions = Run(tmp_path / "pets"), predictions_of(images=len(small.test))
    run.write_history([{"epoch": 1, "loss": 2.0, "accuracy": 0.3}])
    messages: list[str] = []

    write_figures(run, predictions, predictions, evaluate(predictions), small, messages.append)
    charts = ("class_f1", "confusion", "learning_accuracy", "learning_loss", "reliability")
    grids = ("confused_pairs", "label_suspects", "mistakes", "samples", "uncertain")
    expected = {f"{name}{suffix}" for name in charts for suffix in (".svg", ".png")}
    expected |= {f"{name}.png" for name in grids}
    assert {path.name for path in run.figures_path.iterdir()} == expected
    assert messages == []
    written = ElementTree.parse(run.figures_path / "confusion.svg").iter()
    texts = {element.text for element in written}
    assert "Confusion matrix, in percent of each row" in texts
    assert f"pets on {small.name}, 200 test images" in texts


def test_a_figure_that_fails_does_not_stop_the_others(
    tmp_path: Path, small: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(evaluation: object) -> Figure:
        raise ZeroDivisionError("in Matplotlib")

    monkeypatch.setattr("thumbnet.figures.confusion_chart", fail)
    run, predictions = Run(tmp_path), predictions_of()
    messages: list[str] = []
    write_figures(run, predictions, predictions, evaluate(predictions), None, messages.append)
    assert {path.stem for path in run.figures_path.iterdir()} == {"class_f1", "reliability"}
    (message,) = messages
    assert "the figure confusion cannot be written: in Matplotlib" in message


def test_figures_are_skipped_after_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thumbnet.figures.SECONDS", -1.0)
    predictions, messages = predictions_of(), list[str]()
    evaluation = evaluate(predictions)
    write_figures(Run(tmp_path), predictions, predictions, evaluation, None, messages.append)
    assert not (tmp_path / "figures").exists()
    assert "confusion, class_f1, reliability" in messages[0]


@pytest.mark.parametrize("kind", ["learning", "confusion", "samples"])
def test_charts_are_displayed_in_a_notebook_without_pyplot(kind: str, small: Dataset) -> None:
    predictions = predictions_of(images=len(small.test))
    charts: dict[str, Callable[[], Figure]] = {
        "learning": lambda: learning_curve({"a": History.of([{"epoch": 1, "loss": 2.0}])}),
        "confusion": lambda: confusion_chart(evaluate(predictions)),
        "samples": lambda: samples_grid(predictions, small.test, 4),
    }
    # Jupyter calls this if nothing is registered for the type of the value.
    chart = charts[kind]()
    assert isinstance(chart, Chart)
    shown, size = chart._repr_png_()
    with Image.open(io.BytesIO(shown)) as picture:
        assert picture.width == pytest.approx(2 * size["width"], abs=2)
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_showing_a_chart_outside_a_notebook_is_refused() -> None:
    with pytest.raises(InputError, match="save it with"):
        learning_curve({}, "loss").show()
