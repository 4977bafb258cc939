"""The service's Prometheus metrics."""

from collections.abc import Callable

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.batching import Batcher

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CONFIDENCES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

        def labelled(kind: type, name: str, text: str, labels: tuple[str, ...], **more: object):  # type: ignore[no-untyped-def]
            return kind(f"thumbnet_{name}", text, labels, registry=self._registry, **more)

        self._requests = labelled(
            Counter, "requests", "Requests answered.", ("route", "method", "status")
        )
        self._seconds = labelled(
            Histogram, "request_seconds", "Time to answer.", ("route",), buckets=SECONDS
        )
        self._batches = labelled(
            Histogram, "batch_images", "Images computed at a time.", ("model",), buckets=IMAGES
        )
        self._queue = labelled(
            Gauge, "queue_images", "Images waiting or computed.", ("model", "version")
        )
        self._answers = labelled(
            Counter, "predictions", "Images by class.", ("model", "class_name")
        )
        self._rejected = labelled(
            Counter, "rejected", "Images whose class is too uncertain.", ("model",)
        )
        self._confidence = labelled(
            Histogram, "confidence", "Highest probability.", ("model",), buckets=CONFIDENCES
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a response; `route` is the pattern of the path, not the path itself."""
        self._requests.labels(route, method, status).inc()
        self._seconds.labels(route).observe(seconds)

    def batch_observer(self, model: str) -> Callable[[int], None]:
        """The function that a batcher calls with the size of each batch."""
        observe: Callable[[int], None] = self._batches.labels(model).observe
        return observe

    def watch_queue(self, model: str, version: int, batcher: Batcher) -> None:
        """Report the length of a queue whenever the metrics are read."""
        self._queue.labels(model, str(version)).set_function(lambda: batcher.images)

    def predictions(
        self, model: str, class_names: tuple[str, ...], answers: Float32Array, reject_below: float
    ) -> None:
        """Count predictions, given as probabilities of shape (n, classes)."""
        confidences = answers.max(axis=1)
        counts = np.bincount(answers.argmax(axis=1), minlength=len(class_names))
        for index in np.flatnonzero(counts):
            self._answers.labels(model, class_names[index]).inc(int(counts[index]))
        observe = self._confidence.labels(model).observe
        for confidence in confidences:
            observe(float(confidence))
        self._rejected.labels(model).inc(int((confidences < reject_below).sum()))

    def forget(self, model: str) -> None:
        """Drop the queues of an unloaded model, so that they do not keep it in memory."""
        self._queue.remove_by_labels({"model": model})

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        return generate_latest(self._registry)
