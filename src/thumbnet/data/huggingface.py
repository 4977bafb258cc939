"""Datasets of the library `datasets`, used by duck typing so that it need not be installed."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from thumbnet.data.dataset import Dataset
from thumbnet.data.labels import LabelColumn, number_labels
from thumbnet.data.listing import SPLITS, TRAIN, Listing
from thumbnet.data.load import decode_listing
from thumbnet.data.parquet import IMAGE_COLUMNS, LABEL_COLUMNS
from thumbnet.data.reading import OnBadImage, Reading
from thumbnet.data.sources.cache import default_cache_directory
from thumbnet.data.sources.locate import ignore
from thumbnet.data.table import find_column, named_column
from thumbnet.errors import InputError, shown


def dataset_from_huggingface(
    dataset: object,
    *,
    image: str | None,
    label: str | None,
    image_size: int | None,
    on_bad_image: OnBadImage,
    name: str | None,
) -> Dataset:
    """See `Dataset.from_huggingface`."""
    reading = Reading.check({"image_size": image_size, "on_bad_image": on_bad_image})
    parts = [_open(title, split, rows, image, label) for title, split, rows in _splits(dataset)]
    training = (part for part in parts if part.split == TRAIN)
    first_names = next((part.labels.class_names for part in training), ())
    class_names, labels = number_labels([part.labels for part in parts], first_names)
    called = name or _name_of(dataset)
    pictures = HuggingFaceImages(Path("huggingface", called), tuple(parts))
    listing = Listing(
        path=pictures.location,
        title=f"{shown(called)} of the library datasets",
        names=[str(row) for row in range(len(pictures))],
        class_names=class_names,
        labels=labels,
        splits=np.repeat(np.array([part.split for part in parts], np.int64), list(map(len, parts))),
    )
    found = decode_listing(listing, pictures, reading, default_cache_directory(), ignore)
    return replace(found, name=shown(called), path=None)


@dataclass(frozen=True)
class HuggingFaceSplit:
    """One split: a `datasets.Dataset`, or an object that looks like one.

    Attributes:
        title: its name, such as "train".
        split: `TRAIN`, `VALIDATION` or `TEST`.
        rows: iterable of mappings that contain the column `image`.
        image: name of the image column.
        labels: one label for each row.
    """

    title: str
    split: int
    rows: Any
    image: str
    labels: LabelColumn

    def __len__(self) -> int:
        return len(self.labels.values)


@dataclass(frozen=True, eq=False)
class HuggingFaceImages:
    """The images of several splits, one after another; see `EncodedImages`."""

    location: Path
    parts: Sequence[HuggingFaceSplit]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def where(self, index: int) -> str:
        ends = list(accumulate(map(len, self.parts)))
        number = int(np.searchsorted(ends, index, side="right"))
        part = self.parts[number]
        return f"{part.title} row {index - ends[number] + len(part)}"

    def encoded(self) -> Iterator[Path | bytes]:
        for part in self.parts:
            for row in _undecoded(part.rows, part.image):
                yield _content(row[part.image])

    def fingerprint(self) -> str:
        """Digest of the library's own fingerprints, or else of the encoded images."""
        known = [getattr(part.rows, "_fingerprint", None) for part in self.parts]
        digest = sha256()
        if all(isinstance(one, str) for one in known):
            digest.update(" ".join(map(str, known)).encode())
        else:
            for one in self.encoded():
                digest.update(one if isinstance(one, bytes) else str(one).encode(errors="replace"))
        return digest.hexdigest()


def _splits(dataset: object) -> list[tuple[str, int, Any]]:
    """Title, split and rows of each split; a dataset without splits counts as training images."""
    if not isinstance(dataset, Mapping):
        return [("the dataset", TRAIN, dataset)]
    unknown = [name for name in dataset if str(name).lower() not in SPLITS]
    if unknown or not dataset:
        raise InputError(
            f"the dataset has the splits {', '.join(map(str, dataset)) or 'none'}; give a dict "
            "of those to use: {'train': …, 'validation': …, 'test': …}"
        )
    return [(str(name), SPLITS[str(name).lower()], rows) for name, rows in dataset.items()]


def _open(
    title: str, split: int, rows: Any, image: str | None, label: str | None
) -> HuggingFaceSplit:
    features = getattr(rows, "features", None)
    if not isinstance(features, Mapping) or not hasattr(rows, "__len__"):
        raise InputError(
            f"{title} is of type {type(rows).__name__}; give a datasets.Dataset or a DatasetDict, "
            "loaded without streaming"
        )
    pictures = {name: None for name, kind in features.items() if type(kind).__name__ == "Image"}
    image = _column(title, features, "image", image, IMAGE_COLUMNS, pictures)
    label = _column(title, features, "label", label, LABEL_COLUMNS, {})
    names = tuple(map(shown, getattr(features[label], "names", None) or ()))
    return HuggingFaceSplit(
        title, split, rows, image, LabelColumn(f"{label} of {title}", list(rows[label]), names)
    )


def _column(
    title: str,
    features: Mapping[str, object],
    argument: str,
    wanted: str | None,
    known: Sequence[str],
    fitting: Mapping[str, object],
) -> str:
    if wanted is not None:
        found = named_column(features, wanted)
    else:
        found = find_column(fitting or features, known) or next(iter(fitting), None)
    if found is None:
        raise InputError(
            f"{title} has no {argument} column{f' named {wanted}' if wanted else ''}; choose one "
            f"with {argument}=… (its columns: {', '.join(map(shown, features))})"
        )
    return found


def _undecoded(rows: Any, column: str) -> Any:
    """The rows with encoded images, if the library can leave them encoded."""
    feature = rows.features[column]
    if type(feature).__name__ == "Image" and hasattr(rows, "cast_column"):
        return rows.select_columns([column]).cast_column(column, type(feature)(decode=False))
    return rows


def _content(value: Any) -> Path | bytes:
    """An image as a path or encoded bytes; decoded images are encoded losslessly."""
    if isinstance(value, Mapping):
        content, path = value.get("bytes"), value.get("path")
        return Path(path) if content is None and path else bytes(content or b"")
    if isinstance(value, bytes) or value is None:
        return value or b""
    picture = value if isinstance(value, Image.Image) else Image.fromarray(np.asarray(value))
    file = io.BytesIO()
    try:
        picture.save(file, "PNG")
    except OSError:  # PNG does not support every mode of Pillow
        picture.convert("RGB").save(file, "PNG")
    return file.getvalue()


def _name_of(dataset: Any) -> str:
    first = next(iter(dataset.values())) if isinstance(dataset, Mapping) else dataset
    info = getattr(first, "info", None)
    return str(getattr(info, "dataset_name", None) or "huggingface")
