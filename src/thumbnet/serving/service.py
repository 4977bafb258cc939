"""The state that the endpoints of a service share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from thumbnet.data.stored import UInt8Array
from thumbnet.evaluation.predictions import Float32Array
from thumbnet.serving.bodies import Bodies
from thumbnet.serving.decoding import Pictures
from thumbnet.serving.examples import Example
from thumbnet.serving.metrics import Metrics
from thumbnet.serving.models import Repository, ServedModel
from thumbnet.serving.parsing import Parser
from thumbnet.serving.settings import Settings
from thumbnet.serving.tensors import require_images


@dataclass(frozen=True, eq=False)
class Service:
    """The parts of a service; close it after use.

    `examples` are offered on the page, by the name of their model.
    """

    settings: Settings
    repository: Repository
    metrics: Metrics
    examples: Mapping[str, Sequence[Example]] = field(default_factory=dict)
    bodies: Bodies = field(init=False)
    parser: Parser = field(init=False)
    pictures: Pictures = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "bodies", Bodies(self.settings))
        object.__setattr__(self, "parser", Parser())
        object.__setattr__(self, "pictures", Pictures(self.settings))

    async def predict(self, model: ServedModel, images: UInt8Array) -> Float32Array:
        """Probabilities of images, of shape (n, classes), counted in the metrics.

        Raises:
            RequestError: the images do not fit the model, or too many are waiting for it.
        """
        require_images(images, model.engine.image_shape, self.settings.images)
        probabilities = await model.batcher.predict(images)
        self.metrics.predictions(
            model.name, model.engine.class_names, probabilities, self.settings.reject_below
        )
        return probabilities

    async def close(self) -> None:
        """Unload the models, and end processes and threads."""
        await self.repository.close()
        self.parser.close()
        self.pictures.close()
