"""The page in a real browser with real clicks and real images; skipped without a browser."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageColor
from playwright.sync_api import Browser, Page, expect, sync_playwright
from server_process import Serve, Server

from browser import BROWSER, FLAGS, needs_browser
from thumbnet.data.dataset import Dataset
from thumbnet.data.load import load
from thumbnet.figures.heat import STOPS, scale_colors
from thumbnet.recipe import Recipe
from thumbnet.runs.run import Run
from thumbnet.serving import page as serving_page
from thumbnet.training import train
from thumbnet.training.progress import SilentDisplay

pytestmark = needs_browser

Visit = Callable[..., Page]
EXAMPLES = 8
FILES = Path(serving_page.__file__).parent / "files"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    """Open the page; it must cause no errors and send no requests to other hosts."""
    problems: list[str] = []
    contexts = []

    def open_page(address: str = server.address, examples: int = EXAMPLES, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: _require_own(request.url, address, problems))
        page.goto(address)
        expect(page.locator("#examples button")).to_have_count(examples)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def _require_own(url: str, address: str, problems: list[str]) -> None:
    if not url.startswith((address, "blob:", "data:")):
        problems.append(url)


def _verdict(page: Page, card: int = 0) -> Any:
    return page.locator(".card .verdict").nth(card)


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_example_is_classified_on_every_screen_size(
    visit: Visit, width: int, scheme: str
) -> None:
    page = visit(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.get_by_role("button", name="cat", exact=True).click()
    expect(_verdict(page)).to_have_text("cat")
    first, second = page.locator(".bars").nth(0), page.locator(".bars").nth(1)
    expect(first.locator("li").first).to_contain_text("cat")
    assert first.locator("li").count() == 10
    names = [bars.locator(".name").all_text_contents() for bars in (first, second)]
    assert names[0] == names[1]  # one order of the classes on both cards
    expect(page.locator(".truth").first).to_have_text("True class: cat ✓")
    expect(page.locator("#said")).to_contain_text("says cat")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, ground = page.evaluate(
        """[getComputedStyle(document.documentElement).color,
            getComputedStyle(document.documentElement).backgroundColor]"""
    )
    assert (_brightness(ink) < _brightness(ground)) == (scheme == "light")
    nameless = page.locator("img:not([hidden])").evaluate_all(
        "images => images.filter((image) => !image.alt && !image.closest('button')).length"
    )
    assert nameless == 0


def _brightness(color: str) -> int:
    return sum(map(int, re.findall(r"\d+", color)[:3]))


def test_the_occlusion_map_is_drawn(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="ship", exact=True).click()
    expect(_verdict(page)).to_have_text("ship")
    heat = page.locator("canvas").first.evaluate(
        """canvas => [...canvas.getContext("2d").getImageData(0, 0, 7, 7).data]
             .filter((value, index) => index % 4 === 3)"""
    )
    assert len(heat) == 49
    assert max(heat) > 150
    assert min(heat) < 50
    seen = page.locator(".small-image").first
    assert seen.evaluate("image => image.naturalWidth") == 32
    expect(seen).to_have_attribute("alt", re.compile(r"32\s×\s32\spixels"))


def test_a_file_is_chosen_and_the_curl_command_copied(
    visit: Visit, server: Server, pictures: list[Path]
) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.locator("#file").set_input_files(pictures[0])
    expect(_verdict(page)).to_be_visible()
    page.get_by_text("Show the curl command").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    call = page.evaluate("navigator.clipboard.readText()")
    assert call == (
        f"curl -F 'files=@{pictures[0].name}' '{server.address}/classify?model=first&version=2'"
    )


def test_images_can_be_dropped_and_pasted(visit: Visit, pictures: list[Path]) -> None:
    page = visit()
    content = list(pictures[1].read_bytes())
    give = """([kind, content]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(content)], "given.png", { type: "image/png" }));
        const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.reload()
        expect(page.locator("#examples button")).to_have_count(EXAMPLES)
        page.evaluate(give, [kind, content])
        expect(_verdict(page)).to_be_visible()
        expect(page.locator("#image")).to_have_attribute("alt", "Your image, given.png")


def test_the_keyboard_suffices(visit: Visit) -> None:
    page = visit()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()") == "frog":
            break
    page.keyboard.press("Enter")
    expect(_verdict(page)).to_have_text("frog")
    pressed = page.get_by_role("button", name="frog", exact=True)
    expect(pressed).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("width", [360, 1280])
def test_every_control_has_a_name_for_screen_readers(visit: Visit, width: int) -> None:
    page = visit(viewport={"width": width, "height": 800})
    page.get_by_role("button", name="ship", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("says ship")
    page.get_by_text("Show the curl command").click()
    page.get_by_label("compared with").select_option("second")
    expect(page.locator(".card")).to_have_count(2)
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    named = {"button", "combobox", "image", "link", "heading", "region", "textbox"}
    found = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in named
    ]
    assert {role for role, _ in found} >= named - {"textbox"}
    assert [role for role, name in found if not name] == []
    # The keyboard alone does not reach content that scrolls sideways.
    wide = """[...document.querySelectorAll("*")].filter((element) =>
        getComputedStyle(element).overflowX === "auto" && element.scrollWidth > element.clientWidth
    ).length"""
    assert page.evaluate(wide) == 0


def test_two_models_are_compared(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="horse", exact=True).click()
    expect(page.locator(".card")).to_have_count(2)
    page.get_by_label("compared with").select_option("none")
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_label("compared with").select_option("second")
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".model-name")).to_have_text(["first, version 2", "second"])
    expect(_verdict(page, 1)).to_have_text("horse")


def test_a_file_that_is_not_an_image_gets_a_message(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    page.locator("#file").set_input_files(bad)
    expect(page.get_by_role("alert")).to_contain_text("bad.png is not an image")
    page.get_by_role("button", name="cat", exact=True).click()
    expect(_verdict(page)).to_have_text("cat")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_model_abstains_below_its_threshold(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="truck", exact=True).click()
    expect(_verdict(page)).to_have_text("Not sure")
    expect(page.locator(".sure").first).to_contain_text("is below the threshold of 50.0%")


@pytest.mark.slow
def test_the_page_asks_for_the_token_once(visit: Visit, serve: Serve) -> None:
    with serve(THUMBNET_TOKEN="open sesame") as server:
        page = visit(server.address, examples=0)
        page.get_by_label("This service requires a token.").fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_label("This service requires a token.")).to_be_visible()
        page.get_by_label("This service requires a token.").fill("open sesame")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#knows")).to_contain_text("10 classes")
        page.get_by_role("button", name="cat", exact=True).click()
        expect(_verdict(page)).to_have_text("cat")
        expect(page.locator("#curl")).to_contain_text("$THUMBNET_TOKEN")


def test_a_photo_of_20_megapixels_is_shrunk_before_it_is_sent(visit: Visit, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    Image.linear_gradient("L").resize((5_000, 4_000)).save(photo)  # the service's limit is 16
    page = visit()
    page.locator("#file").set_input_files(photo)
    expect(_verdict(page)).to_be_visible(timeout=20_000)
    size = page.locator("#image").evaluate(
        "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    )
    assert size == [1024, 819]


def test_a_message_is_scrolled_into_view_on_a_phone(visit: Visit, tmp_path: Path) -> None:
    page = visit(viewport={"width": 390, "height": 600}, has_touch=True, reduced_motion="reduce")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    page.locator("#file").set_input_files(bad)
    expect(page.get_by_role("alert")).to_be_in_viewport(ratio=1)
    assert page.evaluate("scrollY") > 0


def test_the_colours_of_the_map_are_those_of_the_report(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="cat", exact=True).click()
    expect(_verdict(page)).to_be_visible()
    gradient = page.locator(".scale i").first.evaluate(
        "bar => getComputedStyle(bar).backgroundImage"
    )
    found = re.findall(r"rgb\((\d+), (\d+), (\d+)\)", gradient)
    shown = [tuple(map(int, color)) for color in found]
    assert shown == [ImageColor.getrgb(color) for color in scale_colors()]
    script = (FILES / "page.js").read_text(encoding="utf-8")
    assert str([list(stop) for stop in STOPS]) in script


@pytest.fixture
def pets(sample: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on a folder of two classes, whose few validation images allow no calibration."""
    folder = tmp_path_factory.mktemp("data") / "pets"
    for name in ("cat", "dog"):
        label = sample.class_names.index(name)
        (folder / name).mkdir(parents=True)
        for position in (sample.test.labels == label).nonzero()[0][:40]:
            Image.fromarray(sample.test.images[position]).save(folder / name / f"{position}.png")
    recipe = Recipe.check(
        {
            "name": "pets",
            "epochs": 1,
            "batch_size": 10,
            "validation": 0.25,
            "model": {"architecture": "ann", "widths": [8]},
        },
        "test",
    )
    out = tmp_path_factory.mktemp("runs") / "pets"
    return train(recipe, load(folder), out, display=SilentDisplay())


@pytest.mark.slow
def test_the_page_is_about_the_model_that_is_served_and_shows_its_images_only_if_allowed(
    visit: Visit, serve: Serve, pets: Run
) -> None:
    with serve(pets.path, "--examples") as server:
        page = visit(server.address)
        expect(page.locator("#knows")).to_contain_text("pets knows 2 classes: cat, dog.")
        captions = page.locator("#examples button").all_text_contents()
        assert sorted(captions) == ["cat"] * 4 + ["dog"] * 4
        page.locator("#examples button").first.click()
        expect(page.locator(".truth")).to_contain_text(f"True class: {captions[0]}")
        expect(page.locator(".engine")).to_contain_text("uncalibrated")
        (model,) = server.client.get("/models").json()["models"]
        assert model["calibrated"] is False
    with serve(pets.path) as server:
        page = visit(server.address, examples=0)
        expect(page.locator("#knows")).to_contain_text("pets knows")
        expect(page.get_by_text("Or try one of these")).to_be_hidden()
        assert server.client.get("/examples").json() == {"examples": []}
