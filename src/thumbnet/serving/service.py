"""What the protocols share: the parts of a service, and the way from images to probabilities."""

from dataclasses import dataclass, field

from starlette.requests import Request

from thumbnet.data.stored import UInt8Array
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.bodies import Bodies, while_connected
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.models import Repository, ServedModel
from thumbnet.serving.settings import Settings
from thumbnet.serving.tensors import require_images


@dataclass(frozen=True, eq=False)
class Service:
    """The parts of a service."""

    settings: Settings
    repository: Repository
    metrics: Metrics
    bodies: Bodies = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bodies", Bodies(self.settings))

    async def answer(
        self, request: Request, model: ServedModel, images: UInt8Array
    ) -> Float32Array:
        """Probabilities of shape (n, classes) of a request's images, counted in the metrics.

        Raises:
            RequestError: the images do not fit the model, or it has no time for them.
            ClientDisconnect: nobody waits for them any more.
        """
        require_images(images, model, self.settings.images)
        answers = await while_connected(
            request, model.batcher.predict(images), self.settings.request_seconds
        )
        self.metrics.predictions(
            model.name, model.engine.class_names, answers, self.settings.reject_below
        )
        return answers
