"""The layers of a model as a table: what each gives, and how many parameters it has."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def flat_layers(model: "keras.Model") -> Iterator[Any]:
    """All layers, with those of nested models in their place."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from flat_layers(layer)
        else:
            yield layer


def layer_rows(model: "keras.Model") -> list[dict[str, Any]]:
    """One row per layer, in order: name, kind, kernel and output shape ("32x32x3"), parameters."""
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
