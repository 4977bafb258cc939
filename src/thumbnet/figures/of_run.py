"""The charts of one run, available as `run.plot`."""

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
        """A metric over the epochs, for training and validation.

        Raises:
            InputError: the history does not contain the metric.
        """
        history = self.run.history()
        if metric not in history.columns():
            raise InputError(
                f"the history of {self.run.name} has no {metric}; it has: "
                f"{', '.join(history.columns()) or 'nothing'}"
            )
        return learning_curve({self.run.name: history}, metric, ax)

    def confusion(self, ax: Axes | None = None) -> Figure:
        """The confusion matrix of the test images."""
        return confusion_chart(self.run.evaluate(), ax)

    def class_f1(self, ax: Axes | None = None) -> Figure:
        """F1 of each class with its 95% confidence interval."""
        return class_f1_chart({self.run.name: self.run.evaluate()}, ax)

    def reliability(self, *, calibrated: bool = True, ax: Axes | None = None) -> Figure:
        """Accuracy against confidence.

        Args:
            calibrated: whether to apply the run's temperature to the confidence.
            ax: axes to draw in.
        """
        predictions = self.run.predictions()
        if calibrated:
            predictions = at_temperature(predictions, self.run.temperature())
        return reliability_chart({self.run.name: predictions}, ax=ax)

    def risk_coverage(self, ax: Axes | None = None) -> Figure:
        """The error rate of the most confident predictions, against coverage."""
        calibrated = at_temperature(self.run.predictions(), self.run.temperature())
        return risk_coverage_chart({self.run.name: calibrated}, ax)

    def corruptions(self, ax: Axes | None = None) -> Figure:
        """Accuracy under each corruption and severity.

        Raises:
            InputError: it has not been measured with `thumbnet robustness`.
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
            InputError: the run was tested on different images, or made no mistakes.
        """
        self._require_images(dataset)
        predictions = self.run.predictions()
        positions = most_confident_mistakes(predictions, count)
        if not len(positions):
            raise InputError(f"{self.run.name} makes no mistakes on its test images")
        return predicted_grid(predictions, dataset.test, positions)

    def samples(self, dataset: Dataset, count: int = 24) -> Figure:
        """A random sample of the test images of `dataset`, with the predictions.

        Raises:
            InputError: the run was tested on different images.
        """
        self._require_images(dataset)
        return samples_grid(self.run.predictions(), dataset.test, count)

    def _require_images(self, dataset: Dataset) -> None:
        if dataset.digests != self.run.environment().data.digests:
            raise InputError(
                f"{self.run.path} was tested on different images from those of {dataset.source}"
            )
