from collections.abc import Callable
from dataclasses import replace

from thumbnet.report import words
from thumbnet.report.result import Result, read_results
from thumbnet.runs.run import Run

MakeRun = Callable[..., Run]


def test_runs_with_the_same_name_are_distinguished_by_path(make_run: MakeRun) -> None:
    first, second, third = (make_run(name) for name in ("one/same", "two/same", "other"))

    names = [result.name for result in read_results([first, second, third], None)]
    assert names == [str(first.path), str(second.path), "other"]


def test_overconfidence_is_mean_confidence_minus_accuracy(make_run: MakeRun) -> None:
    (result,) = read_results([make_run("a", skill=0.0)], None)

    predictions = result.predictions
    expected = predictions.confidence.mean() - predictions.correct.mean()
    assert abs(result.overconfidence - expected) < 1e-6
    assert result.overconfidence > 0.1  # random guesses with high confidence


def test_label_smoothing_is_named_once_if_all_runs_have_the_same(make_run: MakeRun) -> None:
    first, second = read_results([make_run("first"), make_run("second")], None)

    def smoothed(result: Result, smoothing: float) -> Result:
        recipe = result.recipe.override({"loss.label_smoothing": smoothing})
        return replace(result, recipe=recipe)

    assert words.label_smoothing([smoothed(first, 0.0)]) == ""
    assert "(0.1)" in words.label_smoothing([smoothed(first, 0.1), smoothed(second, 0.1)])
    different = words.label_smoothing([smoothed(first, 0.1), smoothed(second, 0.2)])
    assert "(first 0.1 and second 0.2)" in different
    assert "(first 0.1)" in words.label_smoothing([smoothed(first, 0.1), smoothed(second, 0.0)])
