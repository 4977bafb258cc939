"""What a `.keras` file may hold before Keras is allowed to open it.

Keras's safe mode refuses what it knows to be dangerous, and has been got round more than once
(CVE-2025-1550: any function of any module, named in the configuration). Here it is the other way
about: the file may name the layers that our architectures are made of, and nothing else. A new
architecture that uses another layer adds it to `LAYERS`.
"""

import json
import zipfile
from pathlib import Path
from typing import IO, Any

from thumbnet.errors import InputError

LAYERS = frozenset(
    {
        "Activation",
        "Add",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "Dense",
        "DepthwiseConv2D",
        "Dropout",
        "Flatten",
        "GlobalAveragePooling2D",
        "GlobalMaxPooling2D",
        "InputLayer",
        "LayerNormalization",
        "MaxPooling2D",
        "Normalization",
        "Rescaling",
        "Reshape",
        "Softmax",
        "ZeroPadding2D",
    }
)
_OTHERS = {
    (None, "__keras_tensor__"),
    ("keras", "DTypePolicy"),
    ("keras.src.models.functional", "Functional"),
}
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
MAXIMUM_BYTES = 2**31
MAXIMUM_CONFIG_BYTES = 2**24
MAXIMUM_WIDTH = 2**14


def require_safe_model(path: Path) -> None:
    """Refuse a model file that holds anything but a network of known layers and its weights.

    Raises:
        InputError: saying what was found.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {member.filename: member.file_size for member in archive.infolist()}
            if sizes.keys() != _MEMBERS or len(sizes) != len(archive.infolist()):
                raise InputError(f"it holds {', '.join(sorted(sizes))}")
            if sum(sizes.values()) > MAXIMUM_BYTES or sizes["config.json"] > MAXIMUM_CONFIG_BYTES:
                raise InputError(f"it would take {sum(sizes.values()):,} bytes unpacked")
            require_known_layers(json.loads(archive.read("config.json")))
            with archive.open("model.weights.h5") as weights:
                _require_plain_arrays(weights)
    except Exception as error:  # zipfile, json and h5py raise a dozen kinds for a damaged file
        raise InputError(
            f"{path} is no model that Thumbnet wrote, and is not opened: {error}"
        ) from error


def require_known_layers(config: Any) -> None:
    """Refuse a model's configuration, as JSON values, that names anything but known layers.

    Raises:
        InputError: naming the first that is not known.
    """
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value.values())
            if "class_name" in value or "module" in value:
                _require_known(value.get("module"), value.get("class_name"))
            for key in ("units", "filters"):
                if value.get(key, 0) > MAXIMUM_WIDTH:
                    raise InputError(f"it names a layer of {value[key]:,} {key}")


def _require_known(module: Any, name: Any) -> None:
    is_layer = module == "keras.layers" and name in LAYERS
    if not (is_layer or module == "keras.initializers" or (module, name) in _OTHERS):
        raise InputError(f"it names {module}.{name}, which is none of the layers known here")


def _require_plain_arrays(weights: IO[bytes]) -> None:
    """Refuse links out of the file, arrays kept elsewhere, and arrays larger than they look."""
    import h5py

    with h5py.File(weights, "r") as file:
        arrays = []

        def look(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual or item.dtype.kind not in "fiub":
                    raise InputError(f"its {name} is no plain array of numbers")
                arrays.append(item)
            elif any(not isinstance(item.get(key, getlink=True), h5py.HardLink) for key in item):
                raise InputError(f"its {name or 'weights'} holds a link")

        look("", file)
        file.visititems(look)
        size = sum(array.nbytes for array in arrays)
        if size > MAXIMUM_BYTES:
            raise InputError(f"its weights would take {size:,} bytes")
