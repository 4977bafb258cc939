"""Exporting a model as one HTML file with its weights, preprocessing and a small runtime."""

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from thumbnet.engines.formats import Metadata
from thumbnet.errors import InputError

if TYPE_CHECKING:
    import keras

    from thumbnet.evaluation.predictions import Float32Array

_HERE = Path(__file__).parent
# Text in a script element must not be able to close it.
_ESCAPED = {"<": "\\u003c", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_web(model: "keras.Model", path: Path, metadata: Metadata, int8: bool = False) -> None:
    """Write a page that classifies images in the browser.

    Args:
        model: a model from `prepare_for_export`, from uint8 images to probabilities.
        path: the HTML file.
        metadata: `run`, `class_names` and `image_shape` are shown on the page.
        int8: whether to store the weights in 8 bits with a scale for each output channel, half the
            size of float16. Activations stay in float32.

    Raises:
        InputError: the page's runtime does not support a layer of the model.
        OSError: the file cannot be written.
    """
    program, weights = build_program(model, int8)
    program |= {
        "class_names": list(metadata["class_names"]),
        "image_shape": list(metadata["image_shape"]),
    }
    path.write_text(_render(program, weights, metadata), encoding="utf-8")


def build_program(model: "keras.Model", int8: bool = False) -> tuple[dict[str, Any], bytes]:
    """The program for the page's runtime, and the bytes of its weights.

    Returns:
        A description of each layer in order of execution, for `network.js`, and a block of
        little-endian float16 and int8 numbers, referenced by offset.

    Raises:
        InputError: the runtime does not support a layer of the model.
    """
    blob = bytearray()
    layers: list[dict[str, Any]] = []
    names = {model.inputs[0]._keras_history.operation.name: "input"}
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            continue
        kind, options, tensors = _describe(layer)
        names[layer.name] = layer.name
        incoming = layer.input if isinstance(layer.input, list) else [layer.input]
        layers.append(
            {
                "name": layer.name,
                "kind": kind,
                "inputs": [names[tensor._keras_history.operation.name] for tensor in incoming],
                "output": list(layer.output.shape[1:]),
                "tensors": [_append(blob, tensor, int8) for tensor in tensors],
                "last_use": [],
                **options,
            }
        )
    last_user = {name: layer for layer in layers for name in layer["inputs"]}
    for name, layer in last_user.items():
        layer["last_use"].append(name)
    return {"layers": layers}, bytes(blob)


def _describe(layer: Any) -> "tuple[str, dict[str, Any], list[Float32Array]]":
    """A layer's name in the runtime, its options and its tensors."""
    kind = type(layer).__name__
    weights = [np.asarray(weight) for weight in layer.get_weights()]
    match kind:
        case "Conv2D" if layer.groups == 1 and layer.dilation_rate == (1, 1):
            return "convolution", _window(layer, layer.kernel_size) | _activation(layer), weights
        case "DepthwiseConv2D" if layer.depth_multiplier == 1 and layer.dilation_rate == (1, 1):
            kernel = weights[0][..., 0]
            options = _window(layer, layer.kernel_size) | _activation(layer)
            return "depthwise", options, [kernel, *weights[1:]]
        case "Dense":
            return "dense", _activation(layer), weights
        case "MaxPooling2D" | "AveragePooling2D":
            name = "max_pool" if kind == "MaxPooling2D" else "average_pool"
            return name, _window(layer, layer.pool_size), []
        case "GlobalMaxPooling2D":
            return "global_max", {}, []
        case "GlobalAveragePooling2D":
            return "global_average", {}, []
        case "Rescaling":
            channels = layer.output.shape[-1]
            return "scale", {}, [_per_channel(v, channels) for v in (layer.scale, layer.offset)]
        case "BatchNormalization":
            return "scale", {}, _scale_and_offset(layer)
        case "ZeroPadding2D":
            (top, _), (left, _) = layer.padding
            return "pad", {"before": [top, left]}, []
        case "Activation" | "ReLU":
            return "activation", _activation(layer), []
        case "Add" | "Flatten" | "Softmax":
            return kind.lower(), {}, []
    raise InputError(f"the layer {layer.name} ({kind}) cannot run in a web page")


def _window(layer: Any, size: tuple[int, int]) -> dict[str, Any]:
    return {"window": list(size), "strides": list(layer.strides), "padding": layer.padding}


def _activation(layer: Any) -> dict[str, str]:
    if type(layer).__name__ == "ReLU":
        return {"activation": "relu6" if layer.max_value == 6 else "relu"}
    name = layer.activation.__name__.lstrip("_")
    if name not in ("linear", "relu", "relu6", "silu", "gelu", "sigmoid", "tanh"):
        raise InputError(f"the activation {name} of {layer.name} cannot run in a web page")
    return {"activation": name}


def _per_channel(value: Any, channels: int) -> "Float32Array":
    return np.broadcast_to(np.ravel(value).astype(np.float32), (channels,))


def _scale_and_offset(norm: Any) -> "list[Float32Array]":
    scale = 1 / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma)
    offset = np.asarray(norm.beta) if norm.center else 0
    return [scale, offset - np.asarray(norm.moving_mean) * scale]


def _append(blob: bytearray, values: npt.NDArray[Any], int8: bool) -> dict[str, Any]:
    """Append a tensor to the block of weights, and return the entry that locates it."""
    entry: dict[str, Any] = {"shape": list(values.shape), "offset": len(blob)}
    if not int8 or values.ndim < 2:
        blob += np.ascontiguousarray(values, "<f2").tobytes()
        return entry | {"dtype": "float16"}
    largest = np.abs(values).max(axis=tuple(range(values.ndim - 1)))
    scales = (np.maximum(largest, 1e-6) / 127).astype("<f2")
    quantised = np.clip(np.round(values / scales.astype(np.float32)), -127, 127).astype(np.int8)
    blob += quantised.tobytes()
    entry["scales"] = len(blob)
    blob += scales.tobytes()
    return entry | {"dtype": "int8"}


def _render(program: dict[str, Any], weights: bytes, metadata: Metadata) -> str:
    read = {
        name: (_HERE / name).read_text(encoding="utf-8")
        for name in ("network.js", "pixels.js", "page.js", "page.css")
    }
    script = "\n".join(
        (
            read["network.js"],
            read["pixels.js"],
            f"const PROGRAM = {_json(program)};",
            f'const WEIGHTS = "{base64.b64encode(weights).decode()}";',
            read["page.js"],
        )
    )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, undefined=jinja2.StrictUndefined
    )
    # The hash covers the text between the tags, line breaks included.
    digest = hashlib.sha256(f"\n{script}\n".encode()).digest()
    return environment.get_template("page.html.j2").render(
        title=metadata["title"],
        about=metadata["about"],
        class_names=program["class_names"],
        image_shape=program["image_shape"],
        style=Markup(read["page.css"]),
        script=Markup(script),
        script_hash=base64.b64encode(digest).decode(),
    )


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for letter, escaped in _ESCAPED.items():
        text = text.replace(letter, escaped)
    return text
