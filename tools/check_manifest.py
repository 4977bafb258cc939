"""Check a KServe manifest against the types of KServe and Kubernetes, without a cluster.

    pip install kserve
    python tools/check_manifest.py deploy/kserve.yaml

Reports what the API server would refuse: unknown keys, values of the wrong type, and missing
required keys.
"""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

PLAIN = {"str": str, "int": int, "bool": bool, "float": float}


def main() -> None:
    """Exit with a message about the first error."""
    yaml = importlib.import_module("yaml")
    (path,) = sys.argv[1:]
    for manifest in yaml.safe_load_all(Path(path).read_text(encoding="utf-8")):
        check(manifest, "V1beta1InferenceService", "manifest")
    print(f"{path} is a valid InferenceService")


def check(value: Any, kind: str, place: str) -> None:
    """Check a value against the name of a type, recursively."""
    if found := re.fullmatch(r"list\[(.*)\]", kind, re.IGNORECASE):
        require(isinstance(value, list), place, kind)
        for position, item in enumerate(value):
            check(item, found[1], f"{place}[{position}]")
    elif found := re.fullmatch(r"dict[(\[]str, (.*)[)\]]", kind, re.IGNORECASE):
        require(isinstance(value, dict), place, kind)
        for key, item in value.items():
            check(item, found[1], f"{place}.{key}")
    elif kind in PLAIN:
        require(type(value) is PLAIN[kind], place, kind)
    elif kind != "object":
        check_object(value, kind, place)


def check_object(value: Any, kind: str, place: str) -> None:
    """Check a mapping against the class with that name."""
    require(isinstance(value, dict), place, kind)
    known = type_named(kind)
    names = {key: name for name, key in known.attribute_map.items()}
    for key, item in value.items():
        require(key in names, f"{place}.{key}", f"key of {kind}")
        check(item, known.openapi_types[names[key]], f"{place}.{key}")
    try:
        known(**{names[key]: item for key, item in value.items()})
    except ValueError as error:  # a required key is missing
        raise SystemExit(f"{place}: {error}") from error


def type_named(kind: str) -> Any:
    """The class with that name in KServe or Kubernetes."""
    for package in ("kserve.models", "kubernetes.client"):
        if found := getattr(importlib.import_module(package), kind, None):
            return found
    raise SystemExit(f"neither KServe nor Kubernetes has a type {kind}")


def require(valid: bool, place: str, kind: str) -> None:
    if not valid:
        raise SystemExit(f"{place} is not a valid {kind}")


if __name__ == "__main__":
    main()
