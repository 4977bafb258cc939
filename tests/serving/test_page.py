"""The page in a real browser with real clicks and real images; skipped without a browser."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from server_process import Serve, Server

from browser import BROWSER, FLAGS, needs_browser

pytestmark = needs_browser

Visit = Callable[..., Page]
EXAMPLES = 8


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=FLAGS)


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[Visit]:
    """Open the page; it must cause no errors and send no requests to other hosts."""
    problems: list[str] = []
    contexts = []

    def open_page(address: str = server.address, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: _require_own(request.url, address, problems))
        page.goto(address)
        expect(page.locator("#examples button")).to_have_count(EXAMPLES)
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
    page.get_by_role("button", name="a cat", exact=True).click()
    expect(_verdict(page)).to_have_text("cat")
    expect(page.locator(".bars li").first).to_contain_text("cat")
    assert page.locator(".bars li").count() == 10
    expect(page.locator("#said")).to_contain_text("says cat")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, ground = page.evaluate(
        """[getComputedStyle(document.documentElement).color,
            getComputedStyle(document.documentElement).backgroundColor]"""
    )
    assert (_brightness(ink) < _brightness(ground)) == (scheme == "light")
    nameless = page.locator("img:not([hidden])").evaluate_all(
        "images => images.filter((image) => !image.alt).length"
    )
    assert nameless == 0


def _brightness(color: str) -> int:
    return sum(map(int, re.findall(r"\d+", color)[:3]))


def test_the_occlusion_map_is_drawn(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="a ship", exact=True).click()
    expect(_verdict(page)).to_have_text("ship")
    heat = page.locator("canvas").evaluate(
        """canvas => [...canvas.getContext("2d").getImageData(0, 0, 7, 7).data]
             .filter((value, index) => index % 4 === 3)"""
    )
    assert len(heat) == 49
    assert max(heat) > 150
    assert min(heat) < 50
    seen = page.locator(".small-picture").first
    assert seen.evaluate("image => image.naturalWidth") == 32
    expect(seen).to_have_attribute("alt", re.compile(r"32\s×\s32\spixels"))


def test_a_file_is_chosen_and_the_curl_command_copied(
    visit: Visit, server: Server, pictures: list[Path]
) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.locator("#file").set_input_files(pictures[0])
    expect(_verdict(page)).to_be_visible()
    page.get_by_text("Ask from a program").click()
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
        expect(page.locator("#picture")).to_have_attribute("alt", "Your picture, given.png")


def test_the_keyboard_suffices(visit: Visit) -> None:
    page = visit()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.querySelector('img')?.alt") == "a frog":
            break
    page.keyboard.press("Enter")
    expect(_verdict(page)).to_have_text("frog")
    pressed = page.get_by_role("button", name="a frog", exact=True)
    expect(pressed).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("width", [360, 1280])
def test_every_control_has_a_name_for_screen_readers(visit: Visit, width: int) -> None:
    page = visit(viewport={"width": width, "height": 800})
    page.get_by_role("button", name="a ship", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("says ship")
    page.get_by_text("Ask from a program").click()
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
    page.get_by_role("button", name="a horse", exact=True).click()
    page.get_by_label("compared with").select_option("second")
    expect(page.locator(".card")).to_have_count(2)
    expect(page.locator(".model-name")).to_have_text(["first, version 2", "second"])
    expect(_verdict(page, 1)).to_have_text("horse")


def test_a_file_that_is_not_an_image_gets_a_message(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    page.locator("#file").set_input_files(bad)
    expect(page.get_by_role("alert")).to_contain_text("bad.png is not an image")
    page.get_by_role("button", name="a cat", exact=True).click()
    expect(_verdict(page)).to_have_text("cat")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_model_abstains_below_its_threshold(visit: Visit) -> None:
    page = visit()
    page.get_by_role("button", name="a picture it is unsure of").click()
    expect(_verdict(page)).to_have_text("Not sure")
    expect(page.locator(".sure")).to_contain_text("is below the threshold of 50.0%")


def test_the_page_asks_for_the_token_once(visit: Visit, serve: Serve) -> None:
    with serve(THUMBNET_TOKEN="open sesame") as server:
        page = visit(server.address)
        page.get_by_label("This service requires a token.").fill("wrong")
        page.get_by_role("button", name="Use it").click()
        expect(page.get_by_label("This service requires a token.")).to_be_visible()
        page.get_by_label("This service requires a token.").fill("open sesame")
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#knows")).to_contain_text("10 classes")
        page.get_by_role("button", name="a cat", exact=True).click()
        expect(_verdict(page)).to_have_text("cat")
        expect(page.locator("#curl")).to_contain_text("$THUMBNET_TOKEN")
