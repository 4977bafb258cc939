"""Checks of a `.keras` file before Keras loads it.

Keras's safe mode blocks what is known to be dangerous, and has been bypassed more than once
(CVE-2025-1550: the configuration could name any function of any module). The checks here use an
allowlist instead: the file may only use the layers in `LAYERS`. A new architecture that uses
another layer adds it there.
"""

import json
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from thumbnet.errors import InputError, shown
from thumbnet.models import seeded
from thumbnet.paths import open_regular
from thumbnet.runtime import prepare_keras

LAYERS = frozenset(
    {
        "Activation",
        "Add",
        "Average",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "Cropping2D",
        "Dense",
        "DepthwiseConv2D",
        "Dropout",
        "ELU",
        "Flatten",
        "GaussianDropout",
        "GaussianNoise",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "GroupNormalization",
        "InputLayer",
        "LayerNormalization",
        "LeakyReLU",
        "MaxPooling2D",
        "Maximum",
        "Minimum",
        "Multiply",
        "Normalization",
        "PReLU",
        "Permute",
        "RandomFlip",
        "RandomRotation",
        "RandomTranslation",
        "RandomZoom",
        "ReLU",
        "Rescaling",
        "Reshape",
        "SeparableConv2D",
        "Softmax",
        "SpatialDropout2D",
        "Subtract",
        "UnitNormalization",
        "ZeroPadding2D",
    }
)
_OTHERS = {
    (None, "__keras_tensor__"),
    ("keras", "DTypePolicy"),
    ("keras", "Sequential"),
    ("keras.src.models.functional", "Functional"),
}
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
MAXIMUM_BYTES = 2**31
# The largest configuration of the shipped recipes has 40 kB.
MAXIMUM_CONFIG_BYTES = 2**21
MAXIMUM_WIDTH = 2**14
# Values in a layer's output for one image: 67 MB.
MAXIMUM_OUTPUT = 2**24
MAXIMUM_ARRAYS = 10_000
# Keys of the configuration whose numbers are not sizes.
_FREE_NUMBERS = ("seed", "shared_object_id")


def require_safe_model(path: Path) -> None:
    """Refuse a model file that contains anything but known layers and their weights.

    The model is not built, and memory use is limited by the size of the file.

    Raises:
        InputError: the file contains something else; the message says what.
    """
    try:
        with _opened(path) as archive:
            require_known_layers(_config(archive))
            with archive.open("model.weights.h5") as weights:
                _count_numbers(weights)
    except Exception as error:  # zipfile, json and h5py raise many types for a damaged file
        raise _refusal(path, error) from error


def require_buildable(path: Path) -> None:
    """Refuse a model whose layers need more memory than the weights in its file.

    Call this after `require_safe_model`. Keras computes the shapes of all layers in a
    `StatelessScope`, where variables are not allocated.

    Raises:
        InputError: the layers do not fit together, or have more weights than the file.
    """
    keras = prepare_keras()
    try:
        with _opened(path) as archive:
            config = _config(archive)
            with archive.open("model.weights.h5") as weights:
                stored = _count_numbers(weights)
        with seeded(0), keras.StatelessScope():
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
        # Not `variables`: the state of random generators, such as dropout's, is not saved.
        needed = sum(math.prod(weight.shape) for weight in model.weights)
        if needed > stored:
            raise InputError(f"its layers have {needed:,} weights, but the file has {stored:,}")
        for layer in model.layers:
            size = math.prod(side for side in layer.output.shape[1:])
            if size > MAXIMUM_OUTPUT:
                raise InputError(f"its layer {shown(layer.name)} has {size:,} outputs per image")
    except Exception as error:  # each layer raises its own exceptions
        raise _refusal(path, error) from error


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive after checking its members, which must not be compressed."""
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        sizes = {member.filename: member.file_size for member in members}
        if sizes.keys() != _MEMBERS or len(sizes) != len(members):
            raise InputError(f"it contains {shown(', '.join(sorted(sizes)))}")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise InputError("its content is compressed, unlike in files from Keras")
        if sum(sizes.values()) > MAXIMUM_BYTES or sizes["config.json"] > MAXIMUM_CONFIG_BYTES:
            raise InputError(f"it has {sum(sizes.values()):,} bytes")
        yield archive


def _config(archive: zipfile.ZipFile) -> Any:
    return json.loads(archive.read("config.json"))


def _refusal(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{shown(path)} is not a model written by Thumbnet and is not loaded: {error}"
    )


def require_known_layers(config: Any) -> None:
    """Refuse a model configuration that refers to anything but known layers.

    Raises:
        InputError: the message names the first unknown class, or a number too large for a layer.
    """
    left = [("", config)]
    while left:
        key, value = left.pop()
        if isinstance(value, list):
            left.extend((key, item) for item in value)
        elif isinstance(value, dict):
            left.extend(value.items())
            if "class_name" in value or "module" in value:
                _require_known(value.get("module"), value.get("class_name"))
        elif type(value) is int and abs(value) > MAXIMUM_WIDTH and key not in _FREE_NUMBERS:
            raise InputError(f"it has a layer whose {shown(key)} is {value:,}")


def _require_known(module: Any, name: Any) -> None:
    is_layer = module == "keras.layers" and name in LAYERS
    if not (is_layer or module == "keras.initializers" or (module, name) in _OTHERS):
        raise InputError(f"it refers to {shown(f'{module}.{name}')}, which is not a known layer")


def _count_numbers(weights: IO[bytes]) -> int:
    """The number of values in all arrays, which must be stored in the file uncompressed.

    Refused are links, arrays that are compressed or stored elsewhere, and too many arrays.
    """
    import h5py

    with h5py.File(weights, "r") as file:
        arrays, items = [], 0

        def look(name: str, item: Any) -> None:
            nonlocal items
            items += 1 if isinstance(item, h5py.Dataset) else 1 + len(item)
            if items > MAXIMUM_ARRAYS:
                raise InputError(f"it has more than {MAXIMUM_ARRAYS:,} arrays and groups")
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual or item.dtype.kind not in "fiub":
                    raise InputError(f"its {shown(name)} is not a plain array of numbers")
                if item.chunks is not None:
                    raise InputError(f"its {shown(name)} is compressed")
                arrays.append(item)
            elif any(not isinstance(item.get(key, getlink=True), h5py.HardLink) for key in item):
                raise InputError(f"its {shown(name) or 'weights'} has a link")

        look("", file)
        file.visititems(look)
        size = sum(array.nbytes for array in arrays)
        if size > MAXIMUM_BYTES:
            raise InputError(f"its weights take {size:,} bytes")
        return sum(array.size for array in arrays)
