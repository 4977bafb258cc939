"""Reads requests of TensorFlow Serving's REST protocol."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from thumbnet.data.stored import UInt8Array
from thumbnet.serving.parsing import json_object
from thumbnet.serving.problems import RequestError
from thumbnet.serving.tensors import INPUT, images_of_values

_FROM_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True, eq=False)
class PredictRequest:
    """A parsed `:predict` request.

    Attributes:
        by_rows: whether it has "instances" rather than "inputs".
        images: of any shape; None if the request has image files.
        files: the contents of its image files.
    """

    by_rows: bool
    images: UInt8Array | None
    files: list[bytes]


def read_predict(body: bytes | bytearray, maximum_images: int) -> PredictRequest:
    """Read a `:predict` request.

    Raises:
        RequestError: it is not valid.
    """
    values = json_object(body)
    if values.get("signature_name", "serving_default") not in ("", "serving_default"):
        raise RequestError(400, 'the only signature is "serving_default"; leave signature_name out')
    given = [key for key in ("instances", "inputs") if key in values]
    if len(given) != 1:
        raise RequestError(400, 'the request must have either "instances" or "inputs"')
    if given == ["inputs"]:
        return PredictRequest(False, images_of_values(_named(values["inputs"])), [])
    return _read_instances(values["instances"], maximum_images)


def _read_instances(instances: Any, maximum_images: int) -> PredictRequest:
    if not isinstance(instances, list):
        raise RequestError(400, '"instances" must be a list with an element for each image')
    if len(instances) > maximum_images:
        raise RequestError(
            400, f"a request can have 1 to {maximum_images:,} images; got {len(instances):,}"
        )
    values = [_named(instance) for instance in instances]
    encoded = [isinstance(value, dict) and value.keys() == {"b64"} for value in values]
    if not any(encoded):
        return PredictRequest(True, images_of_values(values), [])
    if not all(encoded):
        raise RequestError(400, 'either all "instances" are {"b64": "…"} or none')
    files = [_bytes_of(value["b64"], position) for position, value in enumerate(values)]
    return PredictRequest(True, None, files)


def _named(value: Any) -> Any:
    """The images in `{"images": …}`, the long form of `…`."""
    if isinstance(value, dict) and value.keys() == {INPUT}:
        return value[INPUT]
    return value


def _bytes_of(text: Any, position: int) -> bytes:
    """The bytes of standard or URL-safe base64, with or without padding."""
    try:
        plain = text.translate(_FROM_URL_SAFE).rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, AttributeError, TypeError, ValueError) as error:
        raise RequestError(400, f"instance {position} is not base64") from error
