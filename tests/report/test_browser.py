"""The report in a real browser; skipped without one."""

import html
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browser import BROWSER, FLAGS, needs_browser
from thumbnet.atomic import write_json
from thumbnet.data.dataset import Dataset
from thumbnet.report.build import build_report
from thumbnet.robustness.audit import audit
from thumbnet.runs.run import Run

pytestmark = needs_browser

WIDTHS = (400, 1400)
INTERVAL = {"accuracy": 0.1, "accuracy_low": 0.0, "accuracy_high": 0.4}
ROBUSTNESS = {
    "images": 10,
    "seed": 0,
    "clean_accuracy": 0.9,
    "corruptions": {
        "style": "CIFAR-10-C-style",
        "source": "constants",
        "accuracy": {"a_rather_long_corruption": [0.9, 0.8, 0.7, 0.6, 0.5]},
        "mean_accuracy": 0.7,
        "mean_corruption_error": 0.3,
        "left_out": {"frost": "needs photographs"},
    },
    "changes": {"mirrored": 0.8, "shifted by 1": 0.7},
    "attacks": [
        {
            "attack": "PGD, 10 steps",
            "radius": "8/255",
            "images": 10,
            "accuracy": 0.1,
            "accuracy_low": 0.0,
            "accuracy_high": 0.4,
        }
    ],
}

# Inspects the report from another page, because its policy admits only its own script.
LOOK = """
const look = (frame) => {
  const page = frame.contentDocument, root = page.documentElement;
  const box = (element) => element.getBoundingClientRect();
  const cut = [...page.querySelectorAll(".chart svg")].flatMap((chart) => {
    const outer = box(chart);
    return [...chart.querySelectorAll("text")].filter((text) => {
      const inner = box(text);
      return inner.left < outer.left - 1 || inner.right > outer.right + 1
        || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1;
    }).map((text) => text.textContent);
  });
  const wide = [...page.querySelectorAll("main *")].filter((element) =>
    !element.closest(".scroll, .hidden, pre, .bar")
    && box(element).right > root.clientWidth + 1).map((element) => element.outerHTML.slice(0, 80));
  const nameless = [...page.querySelectorAll("img, svg[role=img]")].filter((picture) =>
    !(picture.getAttribute("alt") || picture.getAttribute("aria-label"))).length;
  const ground = () => getComputedStyle(root).backgroundColor;
  const before = ground();
  page.getElementById("theme").click();
  const after = ground();
  for (const fold of page.querySelectorAll("details")) fold.open = true;
  const bars = [...page.querySelectorAll("#mistakes .bar")].map((bar) => {
    const size = getComputedStyle(bar).backgroundSize.split(" ")[0];
    return [box(bar).width, Number(bar.style.getPropertyValue("--share")), size,
      bar.closest("div").textContent.includes("…")];
  });
  const matrices = [...page.querySelectorAll("#confusion .scroll")].map((scroll) =>
    [scroll.scrollWidth > scroll.clientWidth + 1, getComputedStyle(scroll).backgroundImage]);
  const clipped = [...page.querySelectorAll(".picture .name")].filter((name) =>
    name.scrollWidth > name.clientWidth + 1 && name.clientWidth > 0).length;
  const classes = page.querySelector(".sortable");
  const f1 = [...classes.querySelectorAll("th button")].find((b) => b.textContent === "F1");
  const rows = () => [...classes.querySelectorAll("tbody tr")];
  const column = () => rows().map((row) => Number(row.cells[4].textContent));
  f1.click();
  const falling = column();
  f1.click();
  return {
    width: root.clientWidth, content: root.scrollWidth, cut, wide, nameless, before, after,
    bars, matrices, clipped, falling, rising: column(),
    sort: f1.parentElement.getAttribute("aria-sort"),
  };
};
addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(look);
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(found);
});
"""


@pytest.fixture(scope="module")
def seen(
    make_run: Callable[..., Run], small: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[dict[str, Any]], str]:
    """Measurements of a report in a browser, 400 and 1400 pixels wide, and the console's log."""
    folder = tmp_path_factory.mktemp("browser")
    names = ("ann", "a-run-with-a-rather-long-name", "cnn")
    runs = [make_run(name) for name in names]
    # Everything that a report can show, except for the sections that need a model.
    write_json(runs[0].robustness_path, ROBUSTNESS)
    write_json(runs[1].robustness_path, ROBUSTNESS)
    for run in runs:
        audit(run, small)
    report = build_report(runs, folder / "report.html", small)
    source = html.escape(report.read_text(encoding="utf-8"))
    frames = [f'<iframe style="width:{w}px" srcdoc="{source}"></iframe>' for w in WIDTHS]
    page = folder / "page.html"
    page.write_text(f"<!doctype html>{''.join(frames)}<script>{LOOK}</script>", encoding="utf-8")
    return _open(page, folder)


def _open(page: Path, folder: Path) -> tuple[list[dict[str, Any]], str]:
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            *FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r"<pre>(\[.*\])</pre>", done.stdout)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1])), done.stderr


@pytest.mark.slow
def test_nothing_is_wider_than_the_screen(seen: tuple[list[dict[str, Any]], str]) -> None:
    for width, view in zip(WIDTHS, seen[0], strict=True):
        assert view["content"] <= view["width"] <= width


def test_nothing_overflows_and_every_image_has_a_text_alternative(
    seen: tuple[list[dict[str, Any]], str],
) -> None:
    for view in seen[0]:
        assert view["wide"] == []
        assert view["nameless"] == 0


def test_no_chart_clips_its_text(seen: tuple[list[dict[str, Any]], str]) -> None:
    for view in seen[0]:
        assert view["cut"] == []


def test_a_matrix_that_is_too_wide_scrolls_in_its_box_and_shows_that_it_does(
    seen: tuple[list[dict[str, Any]], str],
) -> None:
    narrow, wide = (frame["matrices"] for frame in seen[0])
    assert all(scrolls and "gradient" in cue for scrolls, cue in narrow)
    assert not any(scrolls for scrolls, _ in wide)


def test_the_console_stays_empty(seen: tuple[list[dict[str, Any]], str]) -> None:
    assert [line for line in seen[1].splitlines() if "CONSOLE" in line] == []


def test_the_theme_can_be_changed(seen: tuple[list[dict[str, Any]], str]) -> None:
    for view in seen[0]:
        assert view["before"] != view["after"]


def test_the_table_of_classes_sorts(seen: tuple[list[dict[str, Any]], str]) -> None:
    for view in seen[0]:
        assert view["falling"] == sorted(view["falling"], reverse=True)
        assert view["rising"] == sorted(view["rising"])
        assert view["falling"] != view["rising"]
        assert view["sort"] == "ascending"


def test_all_probabilities_are_on_one_scale(seen: tuple[list[dict[str, Any]], str]) -> None:
    for view in seen[0]:
        widths = {round(width, 1) for width, *_ in view["bars"]}
        assert len(view["bars"]) > 100
        assert max(widths) - min(widths) < 1
        for _, probability, size, _ in view["bars"]:
            drawn = re.search(r"([\d.]+)%", size)
            assert drawn, size
            assert float(drawn[1]) == pytest.approx(100 * probability, abs=0.01)


def test_no_name_below_an_image_is_clipped(seen: tuple[list[dict[str, Any]], str]) -> None:
    for view in seen[0]:
        assert view["clipped"] == 0
