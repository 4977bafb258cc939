"""The user's own images, from training and evaluation to predictions, report and resuming."""

import csv
import json
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import thumbnet
from thumbnet.data import assembly
from thumbnet.data import load as reading
from thumbnet.data.dataset import Dataset, LabelledImages
from thumbnet.data.load import load
from thumbnet.data.stored import StoredImages
from thumbnet.errors import JobError
from thumbnet.evaluation.calibration import at_temperature
from thumbnet.recipe import Recipe
from thumbnet.report.build import build_report
from thumbnet.runs.run import Run
from thumbnet.training import train
from thumbnet.training.progress import SilentDisplay
from thumbnet.training.results import recompute

NAMES = ("cat", "dög & co")
FAST = ["--set", "model.widths=[8]", "--epochs", "2"]


@pytest.fixture
def pets(sample: Dataset, tmp_path: Path) -> Path:
    """60 images of two classes in splits, larger than usual."""
    for label, name in zip((3, 5), NAMES, strict=True):
        members = np.flatnonzero(sample.train.labels == label)[:30]
        for number, index in enumerate(members):
            part = ("train", "train", "train", "val", "test")[number % 5]
            folder = tmp_path / "pets" / part / name
            folder.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(sample.train.images[int(index)]).resize((100, 80))
            picture.save(folder / f"{number}.jpg")
    return tmp_path / "pets"


@pytest.mark.slow
def test_own_images_from_training_to_report(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pets / "train" / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    out = tmp_path / "run"
    train_it = ["train", "cnn", "--data", pets, "--out", out, "--image-size", 24, *FAST]
    assert thumbnet(*train_it) == 2
    error = capsys.readouterr().err
    assert "broken.jpg" in error
    assert "--on-bad-image skip" in error
    assert not out.exists()
    assert thumbnet(*train_it, "--on-bad-image", "skip") == 0
    shown = capsys.readouterr().err
    assert "36 training, 12 validation and 12 test images" in shown
    assert "skipped: " in shown

    run = Run.open(out)
    metrics = run.metrics()
    assert (metrics.train_images, metrics.validation_images) == (36, 12)
    assert (metrics.test_images, metrics.skipped_images) == (12, 1)
    assert run.class_names() == NAMES
    assert [row.name for row in metrics.classes] == list(NAMES)
    assert run.environment().data.reading["image_size"] == 24

    held_out = run.validation_predictions()
    assert held_out is not None
    for part, folder, answers in (
        ("test", "test", run.predictions()),
        ("validation", "val", held_out),
    ):
        assert answers.part == part
        assert {pets / name for name in answers.names} == set((pets / folder).glob("*/*"))
    with open(run.path / "mistakes.csv", encoding="utf-8") as file:
        mistakes = list(csv.DictReader(file))
    assert mistakes
    for row in mistakes:
        assert row["part"] == "test"
        assert (pets / row["name"]).parent.name == row["label"]
        assert row["name"] == load(pets, on_bad_image="skip").test.names[int(row["image"])]

    assert metrics.test_duplicates == 0
    assert metrics.accuracy_without_duplicates == metrics.accuracy

    assert thumbnet("evaluate", out) == 0
    assert NAMES[1] in capsys.readouterr().out

    # Files and arrays give the same pixels, so the same probabilities.
    files = sorted((pets / "test").glob("*/*"))
    assert thumbnet("predict", out, *files, "--json") == 0
    answers = json.loads(capsys.readouterr().out)
    predictions = at_temperature(run.predictions(), run.temperature())
    for index, answer in enumerate(answers):
        name = NAMES[int(predictions.labels[index])]
        assert Path(answer["path"]).parent.name == name
        expected = predictions.probabilities[index, int(predictions.labels[index])]
        assert answer["probabilities"][name] == pytest.approx(float(expected), abs=1e-5)

    assert thumbnet("report", out) == 0
    page = run.report_path.read_text(encoding="utf-8")
    assert "dög &amp; co" in page
    assert "1 image that could not be read" in page
    assert "The images are not shown" not in page  # found again at the recorded path
    shutil.rmtree(pets / "test" / "cat")
    assert thumbnet("report", out) == 0
    assert "The images are not shown" in run.report_path.read_text(encoding="utf-8")


class Interrupting(SilentDisplay):
    """Sends the signal of Ctrl-C at the first step."""

    def step(self, step: int, values: Mapping[str, float], rate: float, images: int) -> None:
        import os
        import signal

        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_a_run_is_resumed_only_with_the_same_images(
    pets: Path, tmp_path: Path, tiny_recipe: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe.override({"batch_size": 12})
    for name in ("one", "two"):
        with pytest.raises(JobError, match="interrupted after 1 step"):
            train(recipe, load(pets, image_size=16), tmp_path / name, display=Interrupting())
    assert thumbnet("train", "--resume", tmp_path / "one") == 0
    assert Run.open(tmp_path / "one").metrics().test_images == 12
    # With a new --data, the images are read with the recorded options.
    assert thumbnet("train", "--resume", tmp_path / "one", "--data", pets) == 0

    Image.new("RGB", (9, 9)).save(pets / "train" / "cat" / "new.png")
    capsys.readouterr()
    assert thumbnet("train", "--resume", tmp_path / "two", "--data", pets) == 2
    assert "started with different images" in capsys.readouterr().err
    pets.rename(tmp_path / "elsewhere")
    assert thumbnet("train", "--resume", tmp_path / "two") == 2
    assert f"{pets} cannot be read: No such file" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.whole_run
@pytest.mark.parametrize("balance", ["class_weights", "sampling"])
def test_images_that_stay_in_their_file_train_like_others(
    balance: str,
    pets: Path,
    tmp_path: Path,
    tiny_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = tiny_recipe.override({"balance": balance, "batch_size": 12})
    in_memory = train(recipe, load(pets), tmp_path / "memory", display=SilentDisplay())
    monkeypatch.setattr(assembly, "IN_MEMORY", 0)
    stored = load(pets)
    assert isinstance(stored.test.images, StoredImages)
    from_file = train(recipe, stored, tmp_path / "file", display=SilentDisplay())
    np.testing.assert_allclose(
        from_file.predictions().probabilities, in_memory.predictions().probabilities, atol=1e-5
    )
    assert (from_file.path / "figures" / "samples.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("balance", "fraction"), [("none", 0.1), ("class_weights", 0.5), ("sampling", 0.5)]
)
def test_balance_sets_the_class_prior_that_a_model_learns(
    balance: str, fraction: float, tmp_path: Path, tiny_recipe: Recipe
) -> None:
    """From uninformative images, a model learns only how often it has seen each class."""
    blank = LabelledImages(
        np.full((100, 8, 8, 3), 99, np.uint8), np.repeat([0, 1], [10, 90]).astype(np.int64)
    )
    dataset = Dataset("blank", NAMES, blank, blank.take([0, 99]), "here", validation=blank)
    settings = {"balance": balance, "epochs": 60, "batch_size": 50, "optimizer.learning_rate": 0.05}
    run = train(tiny_recipe.override(settings), dataset, tmp_path / "run", display=SilentDisplay())
    assert run.predictions().probabilities[:, 0] == pytest.approx(fraction, abs=0.06)


def test_a_few_images_of_many_classes_can_be_trained_on(
    tmp_path: Path, tiny_recipe: Recipe
) -> None:
    generator = np.random.default_rng(0)
    for name in range(100):
        (tmp_path / "data" / str(name)).mkdir(parents=True)
        for number in range(3):
            pixels = generator.integers(256, size=(12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / str(name) / f"{number}.png")
    dataset = load(tmp_path / "data")
    assert dataset.image_shape == (12, 12, 1)
    recipe = tiny_recipe.override({"validation": 0.5, "batch_size": 1000, "epochs": 1})
    run = train(recipe, dataset, tmp_path / "run", display=SilentDisplay())
    assert run.predictions().probabilities.shape == (100, 100)
    assert run.class_names()[:3] == ("0", "1", "2")


def test_a_folder_with_the_name_of_a_source_is_used(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(pets.parent)
    for name in ("cifar10", "sample"):
        pets = pets.rename(pets.with_name(name))
        assert thumbnet("data", "info", "--json", "--data", name) == 0
        assert json.loads(capsys.readouterr().out)["image_shape"] == [32, 32, 3]
    pets.rename(pets.with_name("elsewhere"))
    assert thumbnet("data", "info", "--data", "sample") == 2
    assert "use --source sample" in capsys.readouterr().err


def test_data_check_and_info(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert thumbnet("data", "check", pets) == 0
    assert capsys.readouterr().out == "60 images: no problems\n"
    (pets / "train" / "cat" / "empty.jpg").write_bytes(b"")
    assert thumbnet("data", "check", pets) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Training refuses:",
        f"  {pets}/train/cat/empty.jpg is empty: "
        "repair or remove it, or train with --on-bad-image skip",
        "61 images: 1 × bad picture",
    ]
    for number in range(5):
        shutil.copy(pets / "train" / "cat" / "0.jpg", pets / "train" / "cat" / f"c{number}.png")
    shutil.copy(pets / "train" / "cat" / "0.jpg", pets / "test" / "cat" / "again.jpg")
    (pets / "train" / "cat" / "empty.jpg").unlink()
    assert thumbnet("data", "check", pets) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Test metrics would be wrong:"
    assert lines[4] == "  … and 3 more: duplicate (--json lists all)"
    assert lines[5] == "Recommendations:"
    assert lines[9] == "  … and 2 more: wrong suffix (--json lists all)"
    assert lines[10] == "66 images: 6 × duplicate, 5 × wrong suffix"
    (pets / "test" / "cat" / "again.jpg").unlink()
    assert thumbnet("data", "check", pets) == 0  # only recommendations
    assert "5 × wrong suffix" in capsys.readouterr().out
    (pets / "train" / "cat" / "empty.jpg").write_bytes(b"")
    for path in (pets / "train" / "cat").glob("c*.png"):
        path.unlink()
    assert thumbnet("data", "check", pets, "--json") == 1
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["kind"] == "bad picture"
    assert problem["path"].endswith("empty.jpg")
    assert thumbnet("data", "check", tmp_path / "nosuch") == 2

    assert thumbnet("data", "info", "--data", pets, "--on-bad-image", "skip", "--json") == 0
    described = json.loads(capsys.readouterr().out)
    assert described["validation"]["counts"] == {"cat": 6, NAMES[1]: 6}
    assert described["image_shape"] == [32, 32, 3]
    out = tmp_path / "grid.png"
    show = ["data", "show", "--data", pets, "--on-bad-image", "skip", "--out", out]
    assert thumbnet(*show, "--per-class", 3, "--image-size", 64) == 0
    assert out.is_file()


@pytest.mark.slow
def test_the_accuracy_without_copies_of_training_images_is_printed(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in NAMES:
        for number, part in ((0, "train"), (3, "val")):
            shutil.copy(pets / part / name / f"{number}.jpg", pets / "test" / name)
    out = tmp_path / "run"
    assert thumbnet("train", "ann", "--data", pets, "--out", out, *FAST) == 0
    printed = " ".join(capsys.readouterr().out.split())
    metrics, predictions = Run.open(out).metrics(), Run.open(out).predictions()
    copies = [Path(name).name in ("0.jpg", "3.jpg") for name in predictions.names]
    others = predictions.correct[~np.array(copies)]
    assert (metrics.test_images, metrics.test_duplicates) == (16, 4)
    assert metrics.accuracy_without_duplicates == pytest.approx(float(others.mean()))
    assert (
        "4 of 16 test images are also training or validation images, pixel by pixel; accuracy on "
        f"the other 12: {others.mean():.2%}" in printed
    )
    assert thumbnet("evaluate", out) == 0
    assert "4 of 16 test images are also" in capsys.readouterr().out
    assert recompute(Run.open(out)).test_duplicates == 4
    said = "4 test images are also training or validation images, pixel by pixel; without them, "
    card = Run.open(out).model_card_path.read_text(encoding="utf-8")
    assert f"{said}the accuracy is {others.mean():.2%}" in card
    report = build_report([Run.open(out)], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "4 of the 16 test images are also training or validation images" in report


@pytest.mark.slow
@pytest.mark.parametrize("place", ["/", "/proc", "pipe", "else where"])
def test_a_path_that_only_a_run_names_must_be_confirmed(
    pets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    """A stranger's run may name any path; opening it could take forever."""
    run = Run(tmp_path / "run")
    train_it = ["train", "ann", "--data", pets, "--out", run.path, "--image-size", 24]
    assert thumbnet(*train_it, "--set", "model.widths=[8]", "--epochs", 1) == 0
    os.mkfifo(tmp_path / "pipe")
    named = str(tmp_path / place)
    environment = json.loads(run.environment_path.read_text())
    environment["data"]["path"] = named
    run.environment_path.write_text(json.dumps(environment))

    def look(path: Path, *arguments: object) -> None:
        raise AssertionError(f"{path} was looked at")

    monkeypatch.setattr(reading, "read_or_list", look)
    capsys.readouterr()
    for command in (["report"], ["explain"], ["audit"], ["train", "--resume"]):
        code = thumbnet(*command, run.path)
        assert code == (0 if command == ["report"] else 2)
        said = capsys.readouterr().err
        assert f"give --data {shlex.quote(named)}" in said


def test_a_class_too_small_for_validation_is_reported_by_check_and_before_training(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pets / "train"
    (data / "owl").mkdir()
    for number in range(2):
        Image.new("RGB", (9, 9), (number, 0, 0)).save(data / "owl" / f"{number}.png")
    assert thumbnet("data", "check", data) == 1
    assert "owl has only one training image; the validation split ne" in capsys.readouterr().out
    for command in (["train", "ann"], ["run", "--recipe", "ann"]):
        assert thumbnet(*command, "--data", data, "--out", tmp_path / "run") == 2
        assert "class owl: there is only one training image" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
