import base64
import csv
import io
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from thumbnet.atomic import write_json
from thumbnet.csv_files import read_table
from thumbnet.data.dataset import Dataset, content_digest
from thumbnet.data.sources.cifar10 import CIFAR10
from thumbnet.errors import InputError
from thumbnet.evaluation.calibration import at_temperature
from thumbnet.evaluation.metrics import evaluate
from thumbnet.figures.grids import sample_positions
from thumbnet.record import write_record
from thumbnet.report.augmented import COUNT, augmented_images
from thumbnet.report.build import SAMPLES, build_report
from thumbnet.report.result import read_results
from thumbnet.runs.run import Run
from thumbnet.training.progress import SilentDisplay
from thumbnet.training.results import recompute

MakeRun = Callable[..., Run]

HOSTILE = ("<script>alert(1)</script>", "$x_1$ & \"y\" 'z'", "_hidden", "a  b", "漢字")


class Page(HTMLParser):
    """A parsed report: elements with their attributes, and the visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown: list[str] = []
        self.inside = ""
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.shown.append(data)

    @property
    def words(self) -> str:
        return " ".join("".join(self.shown).split())

    @property
    def test_images(self) -> list[str]:
        """The text alternatives of the test images, in order."""
        alternatives = [str(image["alt"]) for image in self.all("img")]
        return [text for text in alternatives if text.startswith("Test image")]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def report(runs: list[Run], dataset: Dataset | None) -> Page:
    return Page(build_report(runs, runs[0].report_path, dataset))


@pytest.mark.slow
def test_only_runs_on_cifar10_are_compared_with_the_shipped_recipes(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(make_run("named").path, tmp_path / "named")))
    changed = {"data_name": "cifar10", "flop_per_image": 10**6}
    run.write_metrics(run.metrics().model_copy(update=changed))
    assert "of the shipped recipes" not in report([run], None).words
    environment = run.environment()
    environment.data.digests["test_images"] = CIFAR10.digests["test_images"]
    write_record(run.environment_path, environment)
    assert "of the shipped recipes" in report([run], None).words


@pytest.fixture(scope="module")
def two(make_run: MakeRun, small: Dataset) -> list[Run]:
    return [make_run("a", skill=3.0), make_run("bb", skill=1.0)]


@pytest.fixture(scope="module")
def page(two: list[Run], small: Dataset) -> Page:
    """The report of two runs."""
    return report(two, small)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_has_every_section_and_the_accuracy_of_each_run(
    count: int, make_run: MakeRun, small: Dataset
) -> None:
    runs = [make_run(name, skill) for name, skill in (("a", 4.0), ("bb", 1.0), ("ccc", 2.0))]
    page = report(runs[:count], small)

    sections = {attributes.get("id") for attributes in page.all("section")}
    expected = {"figures", "learning", "confusion", "classes", "calibration", "mistakes", "method"}
    expected |= {"why", "robustness", "cost"}
    assert expected <= sections
    assert ("differences" in sections) == (count > 1)
    for run in runs[:count]:
        accuracy = evaluate(run.predictions()).accuracy
        assert f"{run.name} {100 * accuracy:.1f}% (95% CI" in page.words
    # Loss, accuracy, a matrix for each run, F1 of classes, reliability, risk and coverage.
    charts = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(charts) == 5 + count
    assert all(svg["aria-label"] for svg in charts)


def test_the_report_is_self_contained(page: Page) -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                assert (value or "").startswith(("data:", "#")), (tag, name, value)
            assert not name.startswith("on")
    without_namespaces = page.text.replace("http://www.w3.org/", "")
    assert "http://" not in without_namespaces
    assert "https://" not in without_namespaces
    assert not re.search(r"url\((?!#)", page.text)
    assert "@import" not in page.text
    assert len(page.text.encode()) < 5_000_000


def test_every_reference_has_one_target(page: Page) -> None:
    ids = Counter(attributes["id"] for _, attributes in page.elements if "id" in attributes)
    assert max(ids.values()) == 1
    references = re.findall(r"url\(#([^)]*)\)", page.text)
    for _, attributes in page.elements:
        href = attributes.get("href") or ""
        references += [href[1:]] if href.startswith("#") else []
        references += (attributes.get("aria-labelledby") or "").split()
    assert len(references) > 20
    assert set(references) <= set(ids)


def test_charts_take_their_colours_from_the_page(page: Page) -> None:
    shapes = [a for tag, a in page.elements if tag in ("path", "text", "use") and a.get("style")]
    colours = set(re.findall(r"(?:fill|stroke): (#\w+|var\(--[\w-]+\))", str(shapes)))
    assert {"var(--ink)", "var(--series-0)", "var(--series-1)", "var(--heat)"} <= colours
    assert not {colour for colour in colours if colour.startswith("#")}


def test_markup_in_names_is_escaped(make_run: MakeRun, small: Dataset) -> None:
    runs = [make_run(name, class_names=HOSTILE) for name in ("<u>run & $a$", "_second")]
    page = report(runs, small)

    assert len(page.all("script")) == 1
    assert not page.all("u")
    assert "alert(1)" in page.words
    for name in ("<script>alert(1)</script>", "$x_1$ & \"y\" 'z'", "_hidden", "漢字", "_second"):
        assert name in page.words
    # In the charts too: a legend entry, and ticks of a matrix.
    charts = page.text[page.text.index("<svg") :]
    assert ">_second</text>" in charts
    assert ">$x_1$ &amp; \"y\" 'z'</text>" in charts


def test_shows_no_images_without_a_dataset(two: list[Run]) -> None:
    page = report(two, None)

    assert not page.all("img")
    assert page.words.count("The images are not shown") == 4


def test_shows_the_most_confident_mistakes_first(page: Page, two: list[Run]) -> None:
    predictions = two[0].predictions()
    drawn = sample_positions(len(predictions), SAMPLES)
    wrong = predictions.confidence * ~predictions.correct
    wrong[drawn] = 0  # shown among the samples
    alternatives = page.test_images
    assert alternatives[0] == f"Test image #{wrong.argmax()}"


def test_no_image_is_shown_twice(make_run: MakeRun, small: Dataset) -> None:
    page = report([make_run("x", 0.7), make_run("yy", 0.7)], small)
    alternatives = page.test_images
    assert len(alternatives) > 60
    assert len(set(alternatives)) == len(alternatives)


@pytest.mark.slow
def test_a_report_on_few_images_shows_some_twice_rather_than_none(
    make_run: MakeRun, small: Dataset, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(make_run("few", skill=0.5).path, tmp_path / "few")))
    whole, test = run.predictions(), small.test.take(range(12))
    predictions = replace(
        whole,
        probabilities=whole.probabilities[:12],
        labels=whole.labels[:12],
        ids=whole.ids[:12],
    )
    predictions.save(run.predictions_path)
    environment = run.environment()
    environment.data.digests["test_images"] = content_digest(test.images)
    write_record(run.environment_path, environment)
    assert not predictions.correct.all()
    assert "There is no mistake." not in report([run], replace(small, test=test)).words


def test_images_are_named_by_their_files(make_run: MakeRun, small: Dataset) -> None:
    names = tuple(f"glass/glass{number}.jpg" for number in range(len(small.test)))
    named = replace(small, test=replace(small.test, names=names))
    page = report([make_run("a", 1.0)], named)
    images = {image.removeprefix("Test image ") for image in page.test_images}
    assert images <= set(names)
    assert sorted(images)[0] in page.words
    assert "of the test split" in page.words


def test_two_runs_show_the_classes_of_an_image_in_the_same_order(page: Page) -> None:
    (section,) = re.findall(r'<section id="samples".*?</section>', page.text, re.DOTALL)
    cards = re.findall(r'<li class="picture">.*?</li>', section, re.DOTALL)
    assert len(cards) == SAMPLES
    for card in cards:
        first, second = (
            re.findall(r'<dt class="name">(.*?)</dt>', answer)
            for answer in re.findall(r"<dl>.*?</dl>", card, re.DOTALL)
        )
        assert first == second


@pytest.mark.slow
def test_an_image_has_the_same_confidence_everywhere(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    recompute(run)
    calibrated = at_temperature(run.predictions(), run.temperature())
    with open(run.path / "mistakes.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        confidence = calibrated.confidence[int(row["image"])]
        assert float(row["confidence"]) == pytest.approx(confidence)
    page = report([run], sample)
    shown = page.test_images[0]
    (confidence,) = (row["confidence"] for row in rows if shown == f"Test image #{row['image']}")
    assert f"{100 * float(confidence):.1f}%" in page.words


@pytest.mark.parametrize(("skill", "words"), [(1.0, "beats"), (2.9, "do equally well")])
def test_the_heading_says_which_run_is_better(
    skill: float, words: str, make_run: MakeRun, tmp_path: Path
) -> None:
    path = build_report([make_run("best", 3.0), make_run("other", skill)], tmp_path / "r.html")
    heading = re.search(r'<h1 id="title">(.*?)</h1>', path.read_text(encoding="utf-8"))
    assert heading
    assert heading[1].startswith("best")
    assert words in heading[1]
    assert "sample of CIFAR-10" in heading[1]


def test_a_model_that_is_no_better_than_chance_is_described_as_such(
    make_run: MakeRun, tmp_path: Path
) -> None:
    page = report([make_run("guesser", 0.0)], None)
    assert "Chance is 10.0%" in page.words
    assert "guesser is barely better than that" in page.words


@pytest.mark.slow
def test_a_hundred_classes_fit(make_run: MakeRun, small: Dataset) -> None:
    names = tuple(f"class {number}" for number in range(100))
    page = report([make_run("a", 3.0, names)], small)

    assert len(page.text.encode()) < 5_000_000
    assert page.words.count("class 99") >= 3  # table, chart of F1, matrices


def test_a_run_without_mistakes_says_so(make_run: MakeRun, small: Dataset) -> None:
    page = report([make_run("a", skill=99.0)], small)

    assert "a makes no mistakes." in page.words
    assert "There are no mistakes." in page.words


def test_invalid_runs_are_refused(
    make_run: MakeRun, small: Dataset, sample: Dataset, tmp_path: Path
) -> None:
    run, path = make_run("a"), tmp_path / "report.html"
    other = make_run("other", class_names=("x", "y"))
    with pytest.raises(InputError, match="at least one run"):
        build_report([], path, small)
    with pytest.raises(InputError, match="given twice"):
        build_report([run, Run(run.path / ".." / "a")], path, small)
    with pytest.raises(InputError, match="different classes"):
        build_report([run, other], path, small)
    with pytest.raises(InputError, match="was not tested on the images"):
        build_report([run], path, sample)
    write_json(run.metrics_path, {"accuracy": 0.5})
    with pytest.raises(InputError, match="damaged: it has no"):
        build_report([run], path, small)
    run.metrics_path.unlink()
    with pytest.raises(InputError, match="did not finish"):
        build_report([run], path, small)
    assert not path.exists()


def test_missing_analyses_are_listed_with_their_commands(page: Page) -> None:
    for command in ("robustness", "explain", "audit"):
        assert f"thumbnet {command} " in page.words
    assert "The confidence is uncalibrated: no validation images" in page.words
    assert "No comparison with the shipped recipes" in page.words


@pytest.mark.slow
def test_shows_the_results_of_all_analyses(
    finished_run: Run, sample: Dataset, tmp_path: Path
) -> None:
    from thumbnet.interpretation.explain import explain_run
    from thumbnet.robustness.audit import audit
    from thumbnet.robustness.measure import measure_robustness

    run = Run(Path(shutil.copytree(finished_run.path, tmp_path / "run")))
    audit(run, sample)
    explain_run(run, sample.test, SilentDisplay().message)
    found = measure_robustness(run, sample.test, images=10, report=SilentDisplay().message)
    page = report([run], sample)

    assert "was not measured. To add it" not in page.words
    assert "There was no search for near-duplicates" not in page.words
    assert found.corruptions is not None
    assert f"{100 * found.corruptions.mean_accuracy:.1f}% on their corrupted" in page.words
    assert "No Grad-CAM: the model has no convolution." in page.words
    assert f"Temperature scaling with T = {run.temperature():.3f}" in page.words
    assert all(image["alt"] for image in page.all("img"))
    explanations = run.explanations()
    assert explanations is not None
    assert page.words.count("True class") == len(explanations.gallery)
    alternatives = [str(image["alt"]) for image in page.all("img")]
    assert "A test image as it is, and with gaussian noise at severities 1 to 5" in alternatives
    assert sum("at severities 1 to 5" in text for text in alternatives) == len(
        found.corruptions.accuracy
    )
    maps = [image for image in page.all("img") if "gradients" in str(image["alt"])]
    assert len(maps) == len(explanations.gallery)
    for image in maps:
        content = base64.b64decode(str(image["src"]).partition(",")[2])
        assert min(Image.open(io.BytesIO(content)).size) >= 128
    assert len(page.text.encode()) < 5_000_000


def test_the_model_is_shown_as_a_diagram(finished_run: Run, sample: Dataset) -> None:
    page = report([finished_run], sample)
    rows = read_table(finished_run.layers_path)
    parameters = [int(row["parameters"]) for row in rows]
    assert sum(parameters) == finished_run.metrics().parameters
    assert rows[0]["output"] == "32x32x3"
    assert rows[-1]["output"] == "10"
    blocks = [attributes for attributes in page.all("span") if attributes.get("class") == "block"]
    assert 3 <= len(blocks) - 1 <= len(rows)  # one of them is the heading
    assert "32×32×3" in page.words
    assert f"{sum(parameters):,} parameters" in page.words


def test_training_images_are_shown_as_they_are_augmented(
    finished_run: Run, sample: Dataset, small: Dataset
) -> None:
    (result,) = read_results([finished_run], sample)
    shown = augmented_images(result, sample)
    assert len(shown) == COUNT
    assert {image.label for image in shown} <= set(sample.class_names)
    assert len({image.uri for image in shown}) == COUNT
    assert augmented_images(result, sample) == shown
    assert augmented_images(result, small) == []
    assert "Training images with augmentation" in report([finished_run], sample).words


def test_a_run_without_a_table_of_layers_names_the_command_that_writes_it(page: Page) -> None:
    assert "The layers were not recorded; run thumbnet evaluate" in page.words


@pytest.mark.slow
def test_four_runs_have_small_multiples_instead_of_overlapping_curves(
    make_run: MakeRun, small: Dataset
) -> None:
    runs = [make_run(name) for name in ("one", "two", "three", "four")]
    for shown in (runs[:3], runs):
        page = report(shown, None)
        labels = [str(chart.get("aria-label")) for chart in page.all("svg")]
        for start in ("loss by epoch", "Accuracy against confidence. ", "Error rate of the most"):
            charts = [label for label in labels if label.startswith(start)]
            assert len(charts) == (1 if len(shown) == 3 else 4)
            assert all(run.name in " ".join(charts) for run in shown)


@pytest.mark.slow
@pytest.mark.parametrize("given_as", ["absolute", "relative"])
def test_the_users_folders_are_not_published(
    given_as: str, make_run: MakeRun, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(make_run("private").path, tmp_path / "private")))
    path = "/home/jane doe/secret project/pets"
    shown = path if given_as == "absolute" else "../../secret/pets"
    environment = run.environment()
    data = environment.data.model_copy(update={"path": path})
    write_record(run.environment_path, environment.model_copy(update={"data": data}))
    changed = {"data_source": f"folder {shown}; 2 left out"}
    run.write_metrics(run.metrics().model_copy(update=changed))
    assert run.data_source() == "folder pets; 2 left out"
    text = report([run], None).text
    assert "secret" not in text
    assert "--data pets" in text
