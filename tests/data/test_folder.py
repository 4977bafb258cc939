"""Loading folders of images as a dataset."""

import os
from pathlib import Path

import numpy as np
import pytest
from image_files import write_classes
from PIL import Image

from thumbnet.data import assembly
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.images import read_image
from thumbnet.data.load import load
from thumbnet.data.stored import StoredImages
from thumbnet.errors import InputError

COUNTS = {"cat": 20, "dog": 10}


@pytest.fixture
def pets(sample: Dataset, tmp_path: Path) -> Path:
    write_classes(tmp_path / "pets", sample.train, COUNTS)
    return tmp_path / "pets"


def pixels_of(part: LabelledImages) -> set[bytes]:
    return {image.tobytes() for image in part.images[np.arange(len(part))]}


def test_each_folder_is_a_class(pets: Path) -> None:
    dataset = load(pets)
    assert dataset.name == "pets"
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (32, 32, 3)
    together = np.concatenate([dataset.train.labels, dataset.test.labels])
    assert np.bincount(together).tolist() == [20, 10]
    assert set(dataset.test.labels) == {0, 1}
    assert dataset.validation is None
    assert dataset.source.endswith("no test split: about 20% of the images held out for it")
    assert pixels_of(dataset.train).isdisjoint(pixels_of(dataset.test))
    for part in (dataset.train, dataset.test):
        for image, label in zip(part.images, part.labels, strict=True):
            same = [
                path for path in pets.glob("*/*") if (read_image(path, (32, 32, 3)) == image).all()
            ]
            assert [path.parent.name for path in same] == [dataset.class_names[label]]


def test_training_images_are_shuffled(pets: Path) -> None:
    labels = load(pets).train.labels
    assert 0 < np.count_nonzero(np.diff(labels)) != 1


def test_adding_images_does_not_change_the_split_of_others(pets: Path, sample: Dataset) -> None:
    before = load(pets)
    for first in range(20, 60, 10):
        write_classes(pets, sample.train, {"cat": 10, "dog": 5}, first)
        after = load(pets)
        assert set(before.train.names) < set(after.train.names)
        assert set(before.test.names) <= set(after.test.names)
    assert len(after.test) / (len(after.train) + len(after.test)) == pytest.approx(0.2, abs=0.1)


def test_a_small_class_is_in_both_train_and_test(tmp_path: Path) -> None:
    """This does not depend on the hashes of the names, unlike the split of larger classes."""
    for number in range(200):
        (tmp_path / f"{number:03}").mkdir()
        for copy in range(2 + number % 3):
            image = Image.new("L", (8, 8), number)
            image.putpixel((copy, 0), 255)
            image.save(tmp_path / f"{number:03}" / f"{copy}.png")
    dataset = load(tmp_path)
    trained = np.bincount(dataset.train.labels, minlength=200)
    tested = np.bincount(dataset.test.labels, minlength=200)
    assert tested.min() == 1
    for size in (2, 3, 4):
        assert trained[size - 2 :: 3].min() == min(2, size - 1)


def test_the_test_split_is_held_out_of_train_and_val_in_proportion(
    sample: Dataset, tmp_path: Path
) -> None:
    write_classes(tmp_path / "train", sample.train, {"cat": 60, "dog": 60})
    write_classes(tmp_path / "val", sample.train, {"cat": 40, "dog": 40}, first=60)
    dataset = load(tmp_path)
    assert dataset.validation is not None
    assert dataset.source.endswith(
        "no test split: about 20% of the training and validation images held out for it"
    )
    from_validation = sum(name.startswith("val/") for name in dataset.test.names)
    assert len(dataset.test) == pytest.approx(40, abs=12)
    assert from_validation == pytest.approx(16, abs=8)
    assert all(name.startswith("val/") for name in dataset.validation.names)
    with pytest.raises(InputError, match=r"has no test split, which --require-test requires; add"):
        load(tmp_path, require_test=True)
    write_classes(tmp_path / "test", sample.test, {"cat": 5, "dog": 5})
    assert len(load(tmp_path, require_test=True).test) == 10


def test_the_given_splits_are_kept(sample: Dataset, tmp_path: Path) -> None:
    for part, first in (("train", 0), ("val", 20), ("Test", 30)):
        write_classes(tmp_path / part, sample.train, {"cat": 6, "dog": 4}, first)
    dataset = load(tmp_path)
    assert dataset.validation is not None
    assert "held out" not in dataset.source
    for name, images in dataset.parts.items():
        folder = next(p for p in tmp_path.iterdir() if name.startswith(p.name.lower()))
        assert pixels_of(images) == {
            read_image(path, (32, 32, 3)).tobytes() for path in folder.glob("*/*")
        }
    assert "validation_images" in dataset.digests


def test_a_test_class_without_training_images_is_refused(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path / "train", sample.train, {"cat": 3, "dog": 3})
    write_classes(tmp_path / "test", sample.train, {"cat": 3, "dog": 3}, first=5)
    (tmp_path / "test" / "owl").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "test" / "owl" / "1.png")
    with pytest.raises(InputError, match=r"class owl is in the test split .* not in the train"):
        load(tmp_path)


def test_image_size_defaults(sample: Dataset, tmp_path: Path) -> None:
    write_classes(tmp_path, sample.train, {"cat": 5})
    write_classes(tmp_path, sample.train, {"dog": 3})
    for path in tmp_path.glob("dog/*"):
        Image.new("RGB", (40, 60)).save(path)
    for number in range(5):
        Image.new("RGB", (40, 60), "blue").save(tmp_path / "cat" / f"blue{number}.jpg")
    assert load(tmp_path).image_shape == (32, 32, 3)
    assert load(tmp_path, image_size=48).image_shape == (48, 48, 3)
    for path in tmp_path.glob("cat/0*"):
        path.unlink()
    assert load(tmp_path).image_shape == (60, 40, 3)  # all equal, and small
    Image.new("RGB", (65, 65)).save(tmp_path / "cat" / "z.png")
    assert load(tmp_path).image_shape == (32, 32, 3)


def write_rotated(path: Path, picture: Image.Image) -> None:
    """Save a rotated image with the EXIF orientation that makes it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(path, exif=exif)


def test_images_rotated_by_exif_keep_their_size(tmp_path: Path) -> None:
    """A red bar at the top or bottom of 40×60 pixels must not be cropped."""
    generator = np.random.default_rng(0)
    for name, rows in (("top", slice(0, 8)), ("bottom", slice(52, 60))):
        (tmp_path / name).mkdir()
        for number in range(6):
            pixels = generator.integers(256, size=(60, 40, 3), dtype=np.uint8)
            pixels[rows] = (255, 0, 0)
            picture, path = Image.fromarray(pixels), tmp_path / name / f"{number}.png"
            if number % 2:
                write_rotated(path, picture)
            else:
                picture.save(path)
    dataset = load(tmp_path)
    assert dataset.image_shape == (60, 40, 3)
    for part in dataset.parts.values():
        for image, label in zip(part.images, part.labels, strict=True):
            bar = image[:8] if dataset.class_names[label] == "top" else image[52:]
            assert (bar == (255, 0, 0)).all()


def test_original_sizes_are_reported(tmp_path: Path) -> None:
    reports: list[str] = []
    for name, size in (("cat", (40, 60)), ("dog", (60, 40)), ("owl", (20, 20))):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", size, (number, 0, 0)).save(tmp_path / name / f"{number}.png")
    dataset = load(tmp_path, report=reports.append)
    assert reports[-1] == (
        f"{tmp_path}: images of 20×20 to 60×40 (median 40×40) pixels become 32×32: "
        "centre-cropped to a square, which drops 22% on average, and resized; 5 of them are "
        "upscaled; use --image-size for another size"
    )
    assert dataset.sizes is not None
    assert (dataset.sizes.smallest, dataset.sizes.fitted) == ((20, 20), (32, 32))


def test_a_late_image_can_still_change_the_shape(tmp_path: Path) -> None:
    (tmp_path / "dark").mkdir()
    for number in range(3):
        Image.new("L", (9, 9), 0).save(tmp_path / "dark" / f"{number}.png")
    (tmp_path / "plain").mkdir()
    for number in range(200):
        Image.new("L", (9, 9), number).save(tmp_path / "plain" / f"{number:03}.png")
    assert load(tmp_path).image_shape == (9, 9, 1)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "plain" / "z.png")
    assert load(tmp_path).image_shape == (9, 9, 3)
    Image.new("RGB", (9, 10), "red").save(tmp_path / "plain" / "z.png")
    dataset = load(tmp_path)
    assert dataset.image_shape == (32, 32, 3)
    assert {tuple(image[0, 0]) for image in dataset.train.images} >= {(7, 7, 7), (199, 199, 199)}


def test_grey_images_have_one_channel(sample: Dataset, tmp_path: Path) -> None:
    paths = write_classes(tmp_path, sample.train, {"cat": 4, "dog": 4})
    for path in paths:
        Image.open(path).convert("L").save(path)
    assert load(tmp_path).image_shape == (32, 32, 1)


def test_decoded_images_are_cached_until_a_file_changes(pets: Path, tmp_path: Path) -> None:
    reports: list[str] = []
    cache = tmp_path / "cache"
    first = load(pets, report=reports.append, cache_directory=cache)
    said = f"{pets}: all images have 32×32 pixels and are used without resizing"
    assert reports == [f"decoding 30 images of {pets}", said]
    again = load(pets, report=reports.append, cache_directory=cache)
    assert reports[2:] == [said]
    assert again.digests == first.digests
    Image.new("RGB", (32, 32), "red").save(pets / "cat" / "0000.png")
    changed = load(pets, report=reports.append, cache_directory=cache)
    assert len(reports) == 5
    assert changed.digests != first.digests
    assert len(list((cache / "decoded").glob("*.npy"))) == 1


def test_large_data_stay_on_disk(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(pets)
    monkeypatch.setattr(assembly, "IN_MEMORY", 1000)
    stored = load(pets)
    assert isinstance(stored.train.images, StoredImages)
    assert stored.digests == whole.digests
    np.testing.assert_array_equal(stored.train.images[3:9], whole.train.images[3:9])
    taken = stored.train.take([5, 0])
    assert isinstance(taken.images, StoredImages)
    np.testing.assert_array_equal(taken.images[np.arange(2)], whole.train.take([5, 0]).images)


def test_bad_images_fail_or_are_skipped(pets: Path) -> None:
    (pets / "cat" / "0003.png").write_bytes(b"")
    (pets / "dog" / "0001.png").write_text("not an image", encoding="utf-8")
    with pytest.raises(InputError, match=r"cat/0003.png is empty; .*--on-bad-image skip"):
        load(pets)
    dataset = load(pets, on_bad_image="skip")
    assert len(dataset.skipped) == 2
    assert dataset.source.endswith("2 skipped")
    assert len(dataset.train) + len(dataset.test) == 28
    assert all(image.any() for image in dataset.train.images)
    with pytest.raises(InputError, match=r"cat/0003.png is empty; .*dog/0001.png is not an image"):
        load(pets)  # the cache of the previous call makes no difference


def test_link_loops_are_not_followed(pets: Path) -> None:
    (pets / "cat" / "up").symlink_to(pets)
    (pets / "cat" / "here").symlink_to(pets / "cat")
    dataset = load(pets)
    assert len(dataset.train) + len(dataset.test) == 30
    (pets / "dog" / "self.png").symlink_to(pets / "dog" / "self.png")
    with pytest.raises(InputError, match=r"self.png cannot be read .*symbolic links"):
        load(pets)


def test_pipes_and_devices_are_not_opened(pets: Path) -> None:
    os.mkfifo(pets / "cat" / "pipe.png")
    with pytest.raises(InputError, match=r"pipe.png is not a regular file"):
        load(pets)


def test_file_names_may_be_invalid_utf_8(pets: Path) -> None:
    source = os.fsencode(pets / "cat" / "0000.png")
    Path(os.fsdecode(source)).rename(os.fsdecode(source.replace(b"0000", b"\xff\xfe")))
    (pets / "dog").rename(os.fsdecode(os.fsencode(pets) + b"/hund\xe9"))
    dataset = load(pets)
    assert dataset.class_names == ("cat", "hund\\xe9")
    assert len(dataset.train) + len(dataset.test) == 30


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="contains no images in subfolders; give a folder with"):
        load(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(InputError, match="contains no images in subfolders"):
        load(tmp_path)
    with pytest.raises(InputError, match="nosuch cannot be read: No such file"):
        load(tmp_path / "nosuch")


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"image_size": 0}, "image_size: .* got 0"),
        ({"on_bad_image": "mend"}, "on_bad_image: .* got 'mend'"),
    ],
)
def test_invalid_options_are_named(pets: Path, reading: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(pets, **reading)  # type: ignore[arg-type]


def test_label_is_refused_for_a_folder(pets: Path) -> None:
    with pytest.raises(InputError, match=r"--label colour: .*pets has only one label per image"):
        load(pets, label="colour")


def test_an_unwritable_cache_is_named(pets: Path, tmp_path: Path) -> None:
    from thumbnet.errors import JobError

    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(JobError, match=r"cannot be written to .*file.* THUMBNET_CACHE"):
        load(pets, cache_directory=tmp_path / "file")


def test_a_full_disk_is_detected_before_decoding(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from thumbnet.errors import JobError

    usage = shutil.disk_usage(pets)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(JobError, match=r"need 0 MB in .*, which has 0 MB left; free some"):
        load(pets)
