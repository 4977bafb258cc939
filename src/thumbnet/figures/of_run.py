"""The charts of one run, as `run.plot` gives them."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from thumbnet.data.dataset import Dataset
from thumbnet.errors import InputError, quoted
from thumbnet.evaluation.calibration import at_temperature
from thumbnet.evaluation.mistakes import most_confident_mistakes
from thumbnet.figures.charts import (
    class_f1_chart,
    confusion_chart,
    learning_curve,
    reliability_chart,
)
from thumbnet.figures.grids import predicted_grid, samples_grid
from thumbnet.figures.trust import corruption_chart, risk_coverage_chart
from thumbnet.runs.run import Run


@dataclass(frozen=True)
class RunCharts:
    """The charts of a run.

    Each method returns a Matplotlib figure, which a notebook shows as the last value of a cell.
    With `ax`, it draws in those axes and returns their figure.
    """

    run: Run

    def learning(self, metric: str = "loss", ax: Axes | None = None) -> Figure:
        """A metric over the epochs, in training and validation.

        Raises:
            InputError: no epoch measured it.
        """
        history = self.run.history()
        if metric not in history.columns():
            raise InputError(
                f"no epoch of {self.run.name} measured {metric}; there: "
                f"{', '.join(history.columns()) or 'nothing'}"
            )
        return learning_curve({self.run.name: history}, metric, ax)

    def confusion(self, ax: Axes | None = None) -> Figure:
        """The confusion matrix of the test images."""
        return confusion_chart(self.run.evaluate(), ax)

    def class_f1(self, ax: Axes | None = None) -> Figure:
        """F1 of each class with its 95% interval."""
        return class_f1_chart({self.run.name: self.run.evaluate()}, ax)

    def reliability(self, *, calibrated: bool = True, ax: Axes | None = None) -> Figure:
        """Accuracy against confidence.

        Args:
            calibrated: whether the confidence is that of the run's temperature.
            ax: axes to draw in.
        """
        predictions = self.run.predictions()
        if calibrated:
            predictions = at_temperature(predictions, self.run.temperature())
        return reliability_chart({self.run.name: predictions}, ax=ax)

    def risk_coverage(self, ax: Axes | None = None) -> Figure:
        """The fraction of wrong answers among the most confident ones."""
        calibrated = at_temperature(self.run.predictions(), self.run.temperature())
        return risk_coverage_chart({self.run.name: calibrated}, ax)

    def corruptions(self, ax: Axes | None = None) -> Figure:
        """Accuracy under each corruption and severity.

        Raises:
            InputError: `thumbnet robustness` has not measured it.
        """
        found = self.run.robustness()
        if found is None or found.corruptions is None:
            raise InputError(
                f"{self.run.path} was not tested on corrupted images; run `thumbnet robustness "
                f"{quoted(self.run.path)}`"
            )
        return corruption_chart(found.corruptions.accuracy, ax)

    def mistakes(self, dataset: Dataset, count: int = 24) -> Figure:
        """The most confident mistakes among the test images of `dataset`.

        Raises:
            InputError: these are other images than the run was tested on, or there is no mistake.
        """
        self._require_images(dataset)
        predictions = self.run.predictions()
        positions = most_confident_mistakes(predictions, count)
        if not len(positions):
            raise InputError(f"{self.run.name} makes no mistake on its test images")
        return predicted_grid(predictions, dataset.test, positions)

    def samples(self, dataset: Dataset, count: int = 24) -> Figure:
        """Test images of `dataset` drawn at random, with what was predicted.

        Raises:
            InputError: these are other images than the run was tested on.
        """
        self._require_images(dataset)
        return samples_grid(self.run.predictions(), dataset.test, count)

    def _require_images(self, dataset: Dataset) -> None:
        if dataset.digests != self.run.environment().data.digests:
            raise InputError(
                f"{self.run.path} was made of other images than those of {dataset.source}"
            )
