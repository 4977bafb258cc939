"""The examples in README and docs work: commands parse, quick ones run, Python code runs."""

import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import make_reference
import numpy as np
import pytest
import typer
from PIL import Image

import thumbnet
from thumbnet import registry
from thumbnet.cli import app
from thumbnet.data.dataset import Dataset
from thumbnet.figures.of_run import RunCharts
from thumbnet.models import architecture_names, parameters_class
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.tuning.space import parse_space

ROOT = Path(__file__).parent.parent
MADE = {"command.md", "run_files.md"}
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in MADE),
]
# These need no training, export, download or service, and are run unchanged.
QUICK = {"evaluate", "compare", "report", "predict", "recipes", "data check"}
# Blocks that need a service; tests/serving runs them.
ELSEWHERE = "tritonclient"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language and its text."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def blocks(*languages: str) -> list[Block]:
    """All blocks in these languages."""
    found = []
    for page in PAGES:
        fenced = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.S | re.M)
        for number, (language, text) in enumerate(fenced, 1):
            if language in languages:
                found.append(Block(page.name, number, language, text))
    return found


def commands(block: Block) -> Iterator[list[str]]:
    """The commands of a console block, split into words, without comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def arguments(words: list[str]) -> list[str] | None:
    """The arguments of `thumbnet` in a command; None if it calls another program."""
    return words[words.index("thumbnet") + 1 :] if words.count("thumbnet") == 1 else None


THUMBNET_COMMANDS = [
    pytest.param(found, id=" ".join(["thumbnet", *found]))
    for block in blocks("console")
    for words in commands(block)
    if words[0] != "docker" and (found := arguments(words)) is not None
]


def parse(found: list[str]) -> tuple[str, click.Context]:
    """Parse a command line without running it; returns the name of its subcommand."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("thumbnet", list(found))
    names = []
    while hasattr(command, "resolve_command"):
        name, command, found = command.resolve_command(context, found)
        names.append(name)
        context = command.make_context(name, list(found), parent=context)
    return " ".join(names), context


@pytest.fixture
def workplace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished_run: Run, small: Dataset
) -> Path:
    """A folder with the runs and images that the pages mention."""
    monkeypatch.chdir(tmp_path)
    for name in ("demo/ann", "demo/cnn", "mine", "pets", "cnn-before"):
        shutil.copytree(finished_run.path, tmp_path / "runs" / name)
    pixels = np.asarray(small.test.images)
    for name in ("cat.jpg", "dog.png", "new.jpg", "cat.png"):
        Image.fromarray(pixels[len(name)]).save(tmp_path / name)
    for number, (image, label) in enumerate(zip(pixels, small.test.labels, strict=True)):
        if label < 2:
            folder = tmp_path / "pets" / ("cat", "dog")[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number}.png")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("found", THUMBNET_COMMANDS)
def test_commands_in_the_docs_parse_and_the_quick_ones_run(
    found: list[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _ = parse(found)
    if name in QUICK and not {">", "--engine"} & set(found):
        with pytest.raises(SystemExit) as ending:
            app(found, standalone_mode=True)
        assert ending.value.code in (0, None)


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_other_commands_in_the_docs_exist(block: Block) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for words in commands(block):
        if words[0] == "make":
            for target in words[1:]:
                assert re.search(rf"^{target}:", makefile, re.M), target
        for word in words:
            if word.startswith(("benchmarks/", "tools/", "deploy/")) and "results" not in word:
                assert (ROOT / word).is_file(), word
            for named in re.findall(r"\[([\w,]+)\]$", word):
                assert set(named.split(",")) <= extras.keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [block for block in blocks("python") if ELSEWHERE not in block.text], ids=str
)
def test_python_code_in_the_docs_runs(
    block: Block,
    workplace: Path,
    small: Dataset,
    tiny_recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train = thumbnet.train

    def train_briefly(recipe: Any, *rest: Any, **options: Any) -> Run:
        brief = tiny_recipe if isinstance(recipe, str) else recipe
        return train(brief, *rest, **options)

    monkeypatch.setattr(thumbnet, "train", train_briefly)
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(thumbnet, "load_cifar10", lambda: small, raising=False)
    shutil.rmtree(workplace / "runs" / "pets")
    exec(compile(block.text, str(block), "exec"), {"thumbnet": thumbnet})


def test_search_spaces_in_the_docs_are_valid() -> None:
    for block in blocks("toml"):
        if block.page == "extending.md":  # a package, which tests/test_extending.py installs
            continue
        assert parse_space(block.text, str(block), Recipe.read("cnn"))


def keys(model: type[Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of a recipe's table."""
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields") and name != "model":
            yield from keys(field.annotation, f"{prefix}{name}.")
        elif name != "model":
            yield prefix + name


def test_every_recipe_key_is_documented() -> None:
    page = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    known = set(keys(Recipe))
    for architecture in architecture_names():
        known |= set(keys(parameters_class(architecture), "model."))
    known |= {f"augmentation.{name}" for name in registry.names("augmentation")}
    assert {key for key in known if f"| `{key}` |" not in page} == set()


def test_reference_pages_are_up_to_date() -> None:
    for path, text in make_reference.pages().items():
        assert path.read_text("utf-8") == text, f"run tools/make_reference.py to update {path.name}"


def test_every_field_of_a_record_is_documented() -> None:
    page = make_reference.run_files_page()
    records = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert {"Metrics", "ClassScores", "Exports"} <= set(records)
    assert all(name.isidentifier() for name in records)
    fields = re.findall(r"^\| `(\w+)` \| [^|]+ \|(.*)\|$", page, re.MULTILINE)
    assert len(fields) > 150
    assert [name for name, meaning in fields if not meaning.strip()] == []


def test_every_file_of_a_run_is_documented() -> None:
    page = (ROOT / "docs" / "run_directory.md").read_text("utf-8")
    run = Run(Path("run"))
    files = [
        getattr(run, name)
        for name, kind in vars(Run).items()
        if isinstance(kind, property) and name.endswith("_path")
    ]
    assert len(files) > 10
    assert {path.name for path in files if path.name not in page} == set()


def test_every_option_is_in_the_reference() -> None:
    page = make_reference.command_page()
    for found in THUMBNET_COMMANDS:
        for option in re.findall(r"(?<= )--[a-z-]+", f" {found.id}"):
            assert f"`{option}" in page, option


def test_links_between_the_docs_are_valid() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_public_name_is_documented() -> None:
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    assert {name for name in thumbnet.__all__ if f"\n| `{name}` | " not in page} == set()


def test_every_chart_of_a_run_is_documented() -> None:
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    charts = [name for name in vars(RunCharts) if not name.startswith("_") and name != "run"]
    assert {name for name in charts if f"`{name}(" not in page} == set()
