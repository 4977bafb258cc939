"""Loading a dataset in any supported layout, which is detected from the path."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from thumbnet import registry
from thumbnet.data.assembly import assemble, in_memory_if_few, require_test_split
from thumbnet.data.classes import require_two_classes
from thumbnet.data.dataset import Dataset
from thumbnet.data.encoded import EncodedImages
from thumbnet.data.groups import series_problem
from thumbnet.data.listing import Listing
from thumbnet.data.reading import OnBadImage, Reading
from thumbnet.data.sources.archive import first_member
from thumbnet.data.sources.cache import default_cache_directory
from thumbnet.data.sources.cifar10 import LAYOUTS, read_cifar10
from thumbnet.data.sources.locate import ignore, load_cifar10
from thumbnet.data.sources.patience import Progress, Report
from thumbnet.errors import InputError, shown
from thumbnet.paths import expanded, open_regular


class Reader(Protocol):
    """Interface of a registered reader of a data format."""

    def recognises(self, path: Path) -> bool:
        """Whether this reader can read the path, decided quickly."""

    def read(self, path: Path, reading: Reading) -> Dataset:
        """Read the dataset according to the options; raises InputError if that fails."""


def load(
    path: str | Path | None = None,
    *,
    image_size: int | None = None,
    label: str | None = None,
    path_column: str | None = None,
    on_bad_image: OnBadImage = "fail",
    max_megapixels: int = 50,
    group: str | None = None,
    require_test: bool = False,
    source: str | None = None,
    cache_directory: Path | None = None,
    report: Report = ignore,
    progress: Progress = ignore,
) -> Dataset:
    """Load labelled images in any supported layout; see `docs/data.md`.

    Args:
        path: a folder with a subfolder for each class, a table (CSV, TSV, JSON Lines or Parquet),
            a folder of Parquet files, an `.npz` file, or CIFAR-10 or CIFAR-100 in any format.
            "~" stands for the home directory. By default CIFAR-10, downloaded if necessary.
        image_size: height and width to resize to. By default, images keep their size if all have
            the same one, up to 64 pixels; otherwise they become 32×32.
        label: the label to use, if there are several: "fine" or "coarse" for CIFAR-100, or the
            name of a column of a table.
        path_column: the column of a table that contains the paths, or the encoded images in a
            Parquet file.
        on_bad_image: whether to fail on an image that cannot be read, or to skip it.
        max_megapixels: images above this size, in millions of pixels, count as bad. A JPEG image
            that is decoded at a fraction of its size counts with less; see
            `thumbnet.data.images.open_picture`.
        group: how to find images that belong together, such as the frames of one video, and must
            stay in one split: a regular expression to search for in each path (relative to the
            split's folder), or the name of a column of a table.
        require_test: whether to refuse data without a test split instead of holding one out.
        source: the source of CIFAR-10, if no path is given.
        cache_directory: where to keep decoded images; by default the directory set in
            `THUMBNET_CACHE`, or else the system's cache directory.
        report: called with progress messages.
        progress: called during a download with the bytes received and expected.

    Raises:
        InputError: `path` cannot be read as a dataset, or an option does not apply to it.
        JobError: CIFAR-10 cannot be downloaded, or the cache cannot be written.
    """
    wanted = Reading.check(
        {
            "image_size": image_size,
            "label": label,
            "path_column": path_column,
            "on_bad_image": on_bad_image,
            "max_megapixels": max_megapixels,
            "group": group,
            "require_test": require_test,
        }
    )
    if path is None:
        from thumbnet.data.arrays import resized

        _require_no_groups("CIFAR-10", wanted)
        found = load_cifar10(
            source=source, cache_directory=cache_directory, report=report, progress=progress
        )
        return resized(found, wanted)
    if source is not None:
        raise InputError(f"give a path ({path}) or a source ({source}), not both")
    if (of_package := _read_registered(expanded(path), wanted)) is not None:
        return of_package
    found_or_listed = read_or_list(expanded(path), wanted)
    if isinstance(found_or_listed, Dataset):
        return found_or_listed
    cache = cache_directory or default_cache_directory()
    return decode_listing(*found_or_listed, wanted, cache, report)


def _read_registered(path: Path, reading: Reading) -> Dataset | None:
    """Read the path with a registered reader; None if no reader recognises it.

    Registered readers take precedence over Thumbnet's own, which might misread their formats.
    """
    for name in registry.names("reader"):
        reader: Reader = registry.part("reader", name)
        if reader.recognises(path):
            return replace(reader.read(path, reading), path=path, reading=reading)
    return None


def read_or_list(path: Path, reading: Reading) -> Dataset | tuple[Listing, EncodedImages]:
    """Read a format that contains pixels, or list the images of one that contains image files.

    Raises:
        InputError: `path` cannot be read as a dataset.
    """
    from thumbnet.data.archives import refuse_unknown_archive
    from thumbnet.data.table_text import DELIMITED_SUFFIXES, JSON_SUFFIXES

    if path.is_dir():
        return _read_or_list_folder(path, reading)
    try:
        with open_regular(path) as file:
            magic = file.read(4)
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read: {error.strerror}") from error
    suffix = path.suffix.lower()
    refuse_unknown_archive(path)
    if magic[:2] == b"\x1f\x8b":
        if "cifar-100" in first_member(path):
            return _read_cifar100(path, reading)
        return _read_cifar10(path, reading)
    if magic == b"PK\x03\x04":
        from thumbnet.data.arrays import read_arrays

        _require_one_label(path, reading)
        _require_no_groups(shown(path), reading)
        return _read_cifar10(path, reading) if _is_cache(path) else read_arrays(path, reading)
    if magic == b"PAR1" or suffix == ".parquet":
        from thumbnet.data.parquet import list_parquet

        return list_parquet(path, reading)
    if suffix in DELIMITED_SUFFIXES:
        from thumbnet.data.table_text import list_csv

        return list_csv(path, reading)
    if suffix in JSON_SUFFIXES:
        from thumbnet.data.table_text import list_json_lines

        return list_json_lines(path, reading)
    raise InputError(
        f"{shown(path)} is not a dataset; give a folder with a subfolder for each class, a table "
        "(.csv, .tsv, .jsonl or .parquet), an .npz file, or an archive of CIFAR-10 or CIFAR-100"
    )


def decode_listing(
    listing: Listing, pictures: EncodedImages, reading: Reading, cache: Path, report: Report
) -> Dataset:
    """Decode listed images, or load them from the cache, and make a dataset of them.

    Raises:
        InputError: an image or a row is bad and should not be skipped, or there are no images.
        JobError: the cache cannot be written.
    """
    from thumbnet.data.decoding import decode, refusal

    skip_bad = reading.on_bad_image == "skip"
    if listing.lost and not skip_bad:
        raise refusal(listing.lost)
    if len(pictures) == 0:
        raise InputError(f"{listing.title} contains no usable images")
    require_test_split(listing, reading)
    require_two_classes(listing.title, listing.class_names, listing.labels)
    _report_listing(listing, report)
    decoded = decode(pictures, reading, cache, report)
    if decoded.sizes is not None:
        report(f"{shown(listing.path)}: {decoded.sizes}")
    dataset = assemble(listing, in_memory_if_few(decoded.pixels), reading, decoded.bad)
    return replace(dataset, sizes=decoded.sizes)


def _report_listing(listing: Listing, report: Report) -> None:
    """Report skipped files, and names that look like numbered series."""
    kinds = Counter(problem.kind for problem in listing.problems)
    if kinds:
        found = ", ".join(f"{count:,} × {kind}" for kind, count in kinds.items())
        report(f"{shown(listing.path)}: {found}; `thumbnet data check` lists them")
    if series := series_problem(listing):
        report(f"{series.path} {series.message}: {series.remedy}")


def _read_or_list_folder(folder: Path, reading: Reading) -> Dataset | tuple[Listing, EncodedImages]:
    from thumbnet.data.folder import list_folder
    from thumbnet.data.hub import find_parquet
    from thumbnet.data.sources.cifar100 import layout_in

    try:
        if layout_in(folder):
            return _read_cifar100(folder, reading)
        if _holds_cifar10(folder):
            return _read_cifar10(folder, reading)
        parquet = find_parquet(folder)
    except OSError as error:
        raise InputError(f"{shown(folder)} cannot be read: {error.strerror}") from error
    if parquet:
        from thumbnet.data.parquet import list_parquet

        return list_parquet(folder, reading)
    _require_one_label(folder, reading)
    return list_folder(folder, reading)


def _read_cifar10(path: Path, reading: Reading) -> Dataset:
    from thumbnet.data.arrays import resized

    _require_one_label(path, reading)
    _require_no_groups(shown(path), reading)
    return resized(read_cifar10(path), reading)


def _read_cifar100(path: Path, reading: Reading) -> Dataset:
    from thumbnet.data.arrays import resized
    from thumbnet.data.sources.cifar100 import read_cifar100

    _require_no_groups(shown(path), reading)
    return resized(read_cifar100(path, reading), reading)


def _require_no_groups(title: str, reading: Reading) -> None:
    if reading.group is not None:
        raise InputError(
            f"--group {reading.group}: {title} has no image names to find groups in; omit the "
            "option"
        )


def _require_one_label(path: Path, reading: Reading) -> None:
    if reading.label is not None:
        raise InputError(
            f"--label {reading.label}: {shown(path)} has only one label per image; omit the option"
        )
    if reading.path_column is not None:
        raise InputError(
            f"--path-column {reading.path_column}: {shown(path)} is not a table; omit the option"
        )


def _holds_cifar10(folder: Path) -> bool:
    return any(
        (place / name).is_file()
        for layout in LAYOUTS
        for place in (folder, folder / layout.folder)
        for name in layout.files
    )


def _is_cache(path: Path) -> bool:
    """Whether a zip file is Thumbnet's cache file of CIFAR-10."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as members:
            return {"source.npy", "train_images.npy"} <= set(members.namelist())
    except Exception:  # a damaged file raises many types; the error comes when it is read
        return False
