"""Reads requests of the Open Inference Protocol (V2)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from thumbnet.data.stored import UInt8Array
from thumbnet.serving.parsing import json_object
from thumbnet.serving.problems import RequestError
from thumbnet.serving.tensors import INPUT, OUTPUT, images_of_values

_MAXIMUM_ID = 1_024


@dataclass(frozen=True, eq=False)
class InferRequest:
    """A parsed `infer` request.

    Attributes:
        id: repeated in the response; None if there is none.
        shape: of the images.
        pixels: flattened; None if they follow the JSON.
        binary_output: whether the response's tensor follows its JSON as binary data.
    """

    id: str | None
    shape: tuple[int, ...]
    pixels: UInt8Array | None
    binary_output: bool

    def images(self, binary: memoryview) -> UInt8Array:
        """The images, reshaped.

        Args:
            binary: the bytes that follow the JSON.

        Raises:
            RequestError: the number of values does not match the shape.
        """
        pixels = np.frombuffer(binary, np.uint8) if self.pixels is None else self.pixels
        if len(pixels) != math.prod(self.shape):
            raise RequestError(
                400,
                f"the shape {list(self.shape)} has {math.prod(self.shape)} values; got "
                f"{len(pixels)}",
            )
        return pixels.reshape(self.shape)


def read_infer(text: bytes | bytearray, binary_bytes: int) -> InferRequest:
    """Read the JSON of an `infer` request.

    Args:
        text: the JSON.
        binary_bytes: how many bytes follow it.

    Raises:
        RequestError: it is not valid, or uses a feature that is not supported.
    """
    header = json_object(text)
    request_id = header.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise RequestError(400, '"id" must be text')
    if request_id is not None and len(request_id) > _MAXIMUM_ID:
        raise RequestError(400, f'"id" must have at most {_MAXIMUM_ID:,} characters')
    inputs = header.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise RequestError(400, f'the request must have one input, named "{INPUT}"')
    (tensor,) = inputs
    if tensor.get("name") != INPUT or tensor.get("datatype") != "UINT8":
        raise RequestError(400, f'the input must have the name "{INPUT}" and the datatype "UINT8"')
    shape = tensor.get("shape")
    if not (
        isinstance(shape, list)
        and 1 <= len(shape) <= 8
        and all(type(size) is int and 0 <= size < 2**31 for size in shape)
    ):
        raise RequestError(400, "the shape must be a list of whole numbers")
    return InferRequest(
        request_id, tuple(shape), _pixels(tensor, binary_bytes), _binary_output(header)
    )


def _pixels(tensor: dict[str, Any], binary_bytes: int) -> UInt8Array | None:
    size = _parameters(tensor, "binary_data_size").get("binary_data_size")
    if size is None:
        if "data" not in tensor:
            raise RequestError(400, 'the input has neither "data" nor "binary_data_size"')
        return images_of_values(tensor["data"]).reshape(-1)
    if type(size) is not int or size != binary_bytes:
        raise RequestError(
            400, f"binary_data_size is {size!r:.40}, but {binary_bytes} bytes follow the JSON"
        )
    return None


def _binary_output(header: dict[str, Any]) -> bool:
    parameters = _parameters(header, "binary_data_output")
    wanted = _flag(parameters, "binary_data_output", False)
    outputs = header.get("outputs") or []
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise RequestError(400, '"outputs" must be a list of objects')
    for output in outputs:
        if output.get("name") != OUTPUT:
            raise RequestError(400, f'the only output is named "{OUTPUT}"')
        wanted = _flag(_parameters(output, "binary_data"), "binary_data", wanted)
    return wanted


def _parameters(of: dict[str, Any], *known: str) -> dict[str, Any]:
    """The parameters of a request or tensor; any that would be ignored are refused."""
    parameters = of.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(400, '"parameters" must be an object')
    for name, value in parameters.items():
        # Triton's clients send these with values that have no effect.
        if name not in known and value not in (0, False, None, ""):
            raise RequestError(400, f"the parameter {name!r:.60} is not supported")
    return parameters


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(400, f'"{name}" must be true or false')
    return value
