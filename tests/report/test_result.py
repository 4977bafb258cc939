from collections.abc import Callable

from thumbnet.report.result import read_results
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
