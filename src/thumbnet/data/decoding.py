"""Decoding images once, all to the same size, into a file that is then memory-mapped.

Apart from the image names, memory use does not depend on the number of images: only a few batches
are decoded at a time, and the file is written sequentially.
"""

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import numpy as np
import PIL

from thumbnet.atomic import remove_leftovers, replacing, write_json
from thumbnet.data.encoded import EncodedImages
from thumbnet.data.images import fit_image, open_picture, silent_pillow
from thumbnet.data.reading import Reading
from thumbnet.data.sizes import ImageSizes, Size
from thumbnet.data.sources.patience import Report
from thumbnet.data.stored import UInt8Array
from thumbnet.errors import InputError, JobError, shown
from thumbnet.locking import locked

FOLDER = "decoded"
RULES = 2
"""Increment this when a change makes the same files decode to different pixels."""
OWN_SIZE_UP_TO = 64
USUAL_SIZE = 32
TASK = 64
"""Images per decoding task; fewer if they would take more than `TASK_BYTES`."""
TASK_BYTES = 4_000_000
MAX_LISTED = 3
"""Maximum number of bad images listed in an error message."""

Shape = tuple[int, int, int]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Decoded images.

    Attributes:
        pixels: memory-mapped uint8 array of shape (n, height, width, channels).
        bad: error messages by index of the images that cannot be read; their pixels are 0.
        sizes: the original sizes; None if no image can be read.
    """

    pixels: UInt8Array
    bad: Mapping[int, str]
    sizes: ImageSizes | None


class _DecodedImage(NamedTuple):
    """Properties of a decoded image."""

    size: Size
    grey: bool
    error: str


class _ShapeMismatchError(Exception):
    """An image does not match the shape inferred from the previous images."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape


def decode(pictures: EncodedImages, reading: Reading, cache: Path, report: Report) -> DecodedImages:
    """Decode images to one size, or load them from the cache.

    All have the same number of channels: one if every image is grey, otherwise three.

    Args:
        pictures: the encoded images.
        reading: the size to decode to, and what to do about images that cannot be read. By
            default, images keep their size if all have the same one, up to `OWN_SIZE_UP_TO`
            pixels; otherwise they are resized to `USUAL_SIZE`.
        cache: the cache directory; the pixels are kept in its folder `FOLDER`.
        report: called with progress messages.

    Raises:
        InputError: an image cannot be read and should not be skipped.
        JobError: the cache cannot be written, or the disk is full.
    """
    directory = cache / FOLDER
    place = f"{pictures.location.resolve()} {reading.image_size}"
    slot = hashlib.sha256(place.encode(errors="replace")).hexdigest()[:16]
    state = f"{RULES} {PIL.__version__} {reading.max_megapixels} {pictures.fingerprint()}"
    path = directory / f"{slot}-{hashlib.sha256(state.encode()).hexdigest()[:16]}.npy"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory / f"{slot}.lock"):
            found = _recall(path)
            if found is None:
                _remove_outdated(directory, slot, path)
                _decode_to(path, pictures, reading, report)
                found = _recall(path)
    except OSError as error:
        raise JobError(
            f"decoded images cannot be written to {directory} ({error.strerror or error}); set "
            "THUMBNET_CACHE to another directory"
        ) from error
    if found is None:
        raise JobError(f"{path} was removed while it was being written; try again")
    if found.bad and reading.on_bad_image == "fail":
        raise refusal(list(found.bad.values()))
    return found


def _recall(path: Path) -> DecodedImages | None:
    try:
        # Written last: if it exists, the pixels are complete.
        kept = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return DecodedImages(
            np.load(path, mmap_mode="r", allow_pickle=False),
            {int(index): str(error) for index, error in kept["bad"].items()},
            kept["sizes"] and ImageSizes.from_dict(kept["sizes"]),
        )
    except (FileNotFoundError, ValueError, AttributeError, TypeError, KeyError):
        return None


def _remove_outdated(directory: Path, slot: str, kept: Path) -> None:
    """Remove outdated pixels of the same path, and temporary files of killed jobs."""
    for file in directory.glob(f"{slot}-*"):
        if file.stem != kept.stem:
            file.unlink(missing_ok=True)
    remove_leftovers(directory, slot)


def _decode_to(path: Path, pictures: EncodedImages, reading: Reading, report: Report) -> None:
    report(f"decoding {len(pictures):,} images of {shown(pictures.location)}")
    with silent_pillow(reading.maximum_pixels), replacing(path) as file:
        shape = _first_guess(pictures, reading)
        while True:
            try:
                bad, sizes = _decode_all(file, pictures, shape, reading, report)
                break
            except _ShapeMismatchError as mismatch:
                shape = mismatch.shape
    measured = ImageSizes.measure(sizes, (shape[1], shape[0])).to_dict() if sizes else None
    write_json(path.with_suffix(".json"), {"bad": bad, "sizes": measured})


def _first_guess(pictures: EncodedImages, reading: Reading) -> Shape:
    """The shape inferred from the first images."""
    first = next(batched(named(pictures), TASK), [])
    _, seen = _decode_some(first, (1, 1, 1), reading)
    good = [one for one in seen if not one.error] or [
        _DecodedImage((USUAL_SIZE, USUAL_SIZE), True, "")
    ]
    width, height = good[0].size
    if reading.image_size is not None:
        height = width = reading.image_size
    elif max(width, height) > OWN_SIZE_UP_TO:
        height = width = USUAL_SIZE
    shape = (height, width, 1)
    for one in good:
        shape = _adjusted_shape(shape, one, reading)
    return shape


def _adjusted_shape(shape: Shape, seen: _DecodedImage, reading: Reading) -> Shape:
    """The given shape, changed if one more image does not match it."""
    height, width, channels = shape
    if reading.image_size is None and seen.size != (width, height):
        height = width = USUAL_SIZE
    return height, width, channels if seen.grey else 3


def _decode_all(
    file: IO[bytes], pictures: EncodedImages, shape: Shape, reading: Reading, report: Report
) -> tuple[dict[int, str], list[Size]]:
    """Write all images, resized to one shape, as an `.npy` file.

    Returns:
        Error messages by index of the images that cannot be read, and the original sizes of the
        others.
    """
    count, bytes_each = len(pictures), int(np.prod(shape))
    _require_disk_space(Path(file.name).parent, count * bytes_each)
    file.seek(0)
    file.truncate()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    )
    bad: dict[int, str] = {}
    sizes: list[Size] = []
    done = 0

    def task(some: list[tuple[str, Path | bytes]]) -> tuple[UInt8Array, list[_DecodedImage]]:
        return _decode_some(some, shape, reading)

    at_a_time = max(1, min(TASK, TASK_BYTES // bytes_each))
    for pixels, seen in in_parallel(task, batched(named(pictures), at_a_time)):
        for index, one in enumerate(seen, start=done):
            if one.error:
                bad[index] = one.error
                continue
            fitting = _adjusted_shape(shape, one, reading)
            if fitting != shape:
                raise _ShapeMismatchError(fitting)
            sizes.append(one.size)
        if bad and reading.on_bad_image == "fail":
            raise refusal(list(bad.values()))
        file.write(pixels.data)
        tenth = count // 10 + 1
        if count >= 20_000 and done // tenth < (done + len(seen)) // tenth:
            report(f"decoded {done + len(seen):,} of {count:,} images")
        done += len(seen)
    return bad, sizes


def _decode_some(
    some: list[tuple[str, Path | bytes]], shape: Shape, reading: Reading
) -> tuple[UInt8Array, list[_DecodedImage]]:
    """Decode (name, source) pairs to a uint8 array of shape (n, *shape)."""
    pixels = np.zeros((len(some), *shape), np.uint8)
    seen = []
    for row, (name, source) in enumerate(some):
        try:
            picture = open_picture(source, name, reading.maximum_pixels, needed=shape[:2])
        except InputError as error:
            seen.append(_DecodedImage((0, 0), True, str(error)))
            continue
        pixels[row] = fit_image(picture.image, shape)
        seen.append(_DecodedImage(picture.size, picture.grey, ""))
    return pixels, seen


def named(pictures: EncodedImages) -> Iterator[tuple[str, Path | bytes]]:
    """All images in order, each with its name for messages."""
    return zip(map(pictures.where, range(len(pictures))), pictures.encoded(), strict=True)


def in_parallel(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """Map a function over items in threads; results come in order, and few are kept in memory."""
    threads = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(threads) as pool:
        pending: deque[Future[_Result]] = deque()
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > 2 * threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def batched(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Lists of up to `size` items, like `itertools.batched` of Python 3.12."""
    iterator = iter(items)
    while some := list(islice(iterator, size)):
        yield some


def _require_disk_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise JobError(
            f"the decoded images need {needed / 1e6:,.0f} MB in {directory}, which has "
            f"{free / 1e6:,.0f} MB left; free some space, or set THUMBNET_CACHE to another "
            "directory"
        )


def refusal(errors: Sequence[str]) -> InputError:
    """The error that lists images which cannot be used."""
    more = f" and {len(errors) - MAX_LISTED} more" if len(errors) > MAX_LISTED else ""
    return InputError(
        f"{'; '.join(errors[:MAX_LISTED])}{more}: repair or remove the files that `thumbnet data "
        "check` lists, or skip them with --on-bad-image skip"
    )
