"""The layers of a model as a table: what each gives, and how many parameters it has."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import keras


def flat_layers(model: "keras.Model") -> Iterator[Any]:
    """All layers, with those of nested models in their place."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from flat_layers(layer)
        else:
            yield layer


class LayerRow(TypedDict):
    """A row of `layers.csv`.

    Attributes:
        layer: name of the layer.
        kind: its Keras class.
        kernel: height and width of a convolution's kernel, such as "3x3"; otherwise empty.
        output: shape of the output for one image, such as "32x32x3".
        parameters: number of parameters.
    """

    layer: str
    kind: str
    kernel: str
    output: str
    parameters: int


def layer_rows(model: "keras.Model") -> list[LayerRow]:
    """One row per layer, in order."""
    return [
        {
            "layer": layer.name,
            "kind": type(layer).__name__,
            "kernel": _sides(layer),
            "output": "x".join("?" if side is None else str(side) for side in _output(layer)),
            "parameters": layer.count_params(),
        }
        for layer in flat_layers(model)
    ]


def _output(layer: Any) -> tuple[int | None, ...]:
    """The shape of the (first) output for one image."""
    output = layer.output[0] if isinstance(layer.output, list) else layer.output
    shape: tuple[int | None, ...] = tuple(output.shape[1:])
    return shape


def _sides(layer: Any) -> str:
    """Height and width of a convolution's kernel; empty for other layers."""
    kernel = getattr(layer, "kernel", None)
    return "x".join(map(str, kernel.shape[:2])) if kernel is not None and kernel.ndim == 4 else ""
