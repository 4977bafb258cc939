"""One way into all layouts: what is at a path decides how it is read."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from thumbnet import registry
from thumbnet.data.assembly import assemble, in_memory_if_few, require_test_part
from thumbnet.data.classes import require_two_classes
from thumbnet.data.dataset import Dataset
from thumbnet.data.groups import series_problem
from thumbnet.data.listing import Listing
from thumbnet.data.pictures import Pictures
from thumbnet.data.reading import OnBadImage, Reading
from thumbnet.data.sources.archive import first_member
from thumbnet.data.sources.cache import default_cache_directory
from thumbnet.data.sources.cifar10 import LAYOUTS, read_cifar10
from thumbnet.data.sources.locate import ignore, load_cifar10
from thumbnet.data.sources.patience import Progress, Report
from thumbnet.errors import InputError, shown
from thumbnet.paths import expanded, open_regular


class Reader(Protocol):
    """What is registered as a reader of a data format."""

    def recognises(self, path: Path) -> bool:
        """Whether the path holds what it reads, by a short look."""

    def read(self, path: Path, reading: Reading) -> Dataset:
        """The images, read in the way that the options ask for; raises InputError."""


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
    """Load labelled images, whatever layout they are in; `docs/data.md` describes all.

    Args:
        path: a folder with a sub-folder for each class, a table (CSV, TSV, JSON Lines or
            Parquet), a folder of Parquet files, an `.npz` file, or CIFAR-10 or CIFAR-100 in any of
            their forms; None for CIFAR-10 from wherever it can be had. "~" is the user's home.
        image_size: height and width of the images; None for their own where all are equal and up
            to 64, else 32.
        label: which label, where there are several: "fine" or "coarse" of CIFAR-100, or the name
            of a column of a table.
        path_column: the name of a table's column of paths, or of encoded pictures in Parquet.
        on_bad_image: whether a picture that cannot be read ends the job or is left out.
        max_megapixels: pictures above this size, in millions of pixels, cannot be read. A JPEG
            picture that is decoded at a fraction of its size counts with less; see
            `thumbnet.data.images.open_picture`.
        group: what tells which pictures belong together, such as the frames of one video, and
            stay in one part: a regular expression that is searched for in each path (below the
            part's folder), or the name of a table's column.
        require_test: whether to refuse data without a test part, instead of holding one out.
        source: where to take CIFAR-10 from, without a path.
        cache_directory: where decoded pictures are kept; by default the one that
            `THUMBNET_CACHE` names, or the system's.
        report: called with a line of text now and then.
        progress: called with the bytes received and expected of a download.

    Raises:
        InputError: there is nothing at `path` that can be read, or not in this way.
        JobError: CIFAR-10 cannot be had, or the cache cannot be written.
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
    """What a reader that was registered makes of the path; None where none knows it.

    They are asked before Thumbnet's own, so that they can read what those would misread.
    """
    for name in registry.names("reader"):
        reader: Reader = registry.part("reader", name)
        if reader.recognises(path):
            return replace(reader.read(path, reading), path=path, reading=reading)
    return None


def read_or_list(path: Path, reading: Reading) -> Dataset | tuple[Listing, Pictures]:
    """Read what holds pixels, and list what holds pictures.

    Raises:
        InputError: there is nothing at `path` that can be read.
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
        f"{shown(path)} is not a data set; give a folder with a sub-folder for each class, a table "
        "(.csv, .tsv, .jsonl or .parquet), an .npz file, or an archive of CIFAR-10 or CIFAR-100"
    )


def decode_listing(
    listing: Listing, pictures: Pictures, reading: Reading, cache: Path, report: Report
) -> Dataset:
    """Decode listed pictures, or take them from the cache, and make a data set of them.

    Raises:
        InputError: a picture or a row is bad and not to be skipped, or there is no picture.
        JobError: the cache cannot be written.
    """
    from thumbnet.data.decoding import decode, refusal

    skip_bad = reading.on_bad_image == "skip"
    if listing.lost and not skip_bad:
        raise refusal(listing.lost)
    if len(pictures) == 0:
        raise InputError(f"{listing.title} names no picture that can be used")
    require_test_part(listing, reading)
    require_two_classes(listing.title, listing.class_names, listing.labels)
    _report_listing(listing, report)
    decoded = decode(pictures, reading, cache, report)
    if decoded.sizes is not None:
        report(f"{shown(listing.path)}: {decoded.sizes}")
    dataset = assemble(listing, in_memory_if_few(decoded.pixels), reading, decoded.bad)
    return replace(dataset, sizes=decoded.sizes)


def _report_listing(listing: Listing, report: Report) -> None:
    """Say what is not read, and whether pictures look as if they belonged together."""
    kinds = Counter(problem.kind for problem in listing.problems)
    if kinds:
        found = ", ".join(f"{count:,} × {kind}" for kind, count in kinds.items())
        report(f"{shown(listing.path)}: {found}; `thumbnet data check` lists them")
    if series := series_problem(listing):
        report(f"{series.path} {series.message}: {series.remedy}")


def _read_or_list_folder(folder: Path, reading: Reading) -> Dataset | tuple[Listing, Pictures]:
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
            f"--group {reading.group}: {title} has no names of pictures that could tell groups; "
            "leave it out"
        )


def _require_one_label(path: Path, reading: Reading) -> None:
    if reading.label is not None:
        raise InputError(
            f"--label {reading.label}: {shown(path)} has one label for each image; leave it out"
        )
    if reading.path_column is not None:
        raise InputError(
            f"--path-column {reading.path_column}: {shown(path)} is not a table; leave it out"
        )


def _holds_cifar10(folder: Path) -> bool:
    return any(
        (place / name).is_file()
        for layout in LAYOUTS
        for place in (folder, folder / layout.folder)
        for name in layout.files
    )


def _is_cache(path: Path) -> bool:
    """Whether a zip file is what Thumbnet keeps CIFAR-10 in."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as members:
            return {"source.npy", "train_images.npy"} <= set(members.namelist())
    except Exception:  # of the many kinds for a damaged file; reading it will say what is wrong
        return False
