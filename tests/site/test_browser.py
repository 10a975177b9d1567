"""What a reader's browser meets on the built site, proved in Chromium.

Each page is loaded once, into a `Visit`; the tests read what it found.
"""

import inspect
import os
import re
from dataclasses import dataclass, field
from urllib.parse import urldefrag

import jupytext
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

from llmnotes._site import symbols
from llmnotes.transformer.attention import attention
from tests.site import serving

CHAPTERS = serving.chapters()
NOTEBOOKS = serving.notebooks()
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 800}
WEIGHT = 200_000  # bytes over the wire on a first visit

# Formulas are there twice, as MathML and as a hidden drawing: axe reads the
# MathML. Of a long table it reads some rows, of many code blocks the first
# ones; the others are made alike.
# At night it asks about colour alone, which is all that the palette changes.
AXE_SEES = {
    "exclude": [
        [".katex-html"],
        ["tbody tr:nth-child(n + 5)"],
        [" ~ ".join([".highlight"] * 6)],
    ]
}
AXE_ASKS = {
    "light": {
        "resultTypes": ["violations"],
        "rules": {"target-size": {"enabled": True}},
    },
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},
}

WATCH_SHIFTS = """
window.shifts = 0;
new PerformanceObserver(list => {
  for (const e of list.getEntries())
    if (!e.hadRecentInput) window.shifts += e.value;
}).observe({type: "layout-shift", buffered: true});
"""

# Contrast of every text and every full line of the drawings with the page.
# A canvas resolves whatever colour syntax the browser hands out to numbers.
FAINT = """() => {
  const pen = document.createElement("canvas").getContext("2d",
    {willReadFrequently: true});
  const rgb = colour => {
    pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = c => c.slice(0, 3).map(v => v / 255)
    .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const paper = light(rgb(getComputedStyle(document.body).backgroundColor));
  const contrast = colour => {
    const [a, b] = [light(rgb(colour)), paper].sort((x, y) => y - x);
    return (a + .05) / (b + .05);
  };
  const faint = [];
  for (const e of document.querySelectorAll("figure svg *")) {
    const style = getComputedStyle(e);
    if (!e.checkVisibility()) continue;
    if (e.matches("text, text tspan") && contrast(style.fill) < 4.5)
      faint.push(`text ${e.textContent} in ${style.fill}`);
    if (e.matches("path, line, polyline, use") && style.stroke != "none" &&
        parseFloat(style.strokeWidth) >= 1.2 && style.opacity == 1 &&
        style.strokeOpacity == 1 && contrast(style.stroke) < 3)
      faint.push(`line in ${style.stroke}`);
  }
  return [...new Set(faint)];
}"""

COUNTS = """() => Object.fromEntries(
  [["maths", ".katex-html"], ["code", ".highlight code"],
   ["drawings", "figure svg"], ["tables", "table"]]
  .map(([name, css]) => [name, document.querySelectorAll(css).length]))"""


@dataclass
class Visit:
    """What one load of a page showed."""

    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    weight: int = 0
    shifts: float = 0.0
    titles: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    axe: dict[str, list[str]] = field(default_factory=dict)
    faint: dict[str, list[str]] = field(default_factory=dict)
    sideways: int = 0


@pytest.fixture(scope="session")
def base():
    with serving.serve(serving.build_if_older()) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    path = serving.chromium()
    if not path and os.environ.get("CI"):
        pytest.fail("CI needs Chromium; set CHROMIUM to its path")
    if not path:
        pytest.skip("no Chromium found; set CHROMIUM to its path")
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=path, args=serving.FLAGS)
        yield found
        found.close()


@pytest.fixture
def page(browser, base):
    context = browser.new_context(
        base_url=base, viewport=DESK, color_scheme="light"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session")
def visits(browser, base):
    """The visit of a page, made at first asking."""
    made = {}

    def visit(url):
        if url not in made:
            context = browser.new_context(
                base_url=base, viewport=DESK, color_scheme="light"
            )
            made[url] = look_at(context.new_page(), url, base)
            context.close()
        return made[url]

    return visit


@pytest.fixture(params=serving.pages(), ids=lambda url: url or "home")
def visit(request, visits):
    return visits(request.param)


def look_at(page: Page, url: str, base: str) -> Visit:
    seen = Visit()
    listen(page, seen, base)
    page.add_init_script(WATCH_SHIFTS)
    page.goto(url, wait_until="networkidle")
    seen.shifts = page.evaluate("window.shifts")
    seen.titles = page.locator("h1").all_inner_texts()
    seen.counts = page.evaluate(COUNTS)
    look_closely(page, seen, "light")
    # The second look is at a phone's width, where more has to scroll.
    page.set_viewport_size(PHONE)
    seen.sideways = page.evaluate(
        "document.documentElement.scrollWidth - innerWidth"
    )
    page.locator("label[for=__palette_1]").click()
    look_closely(page, seen, "dark")
    return seen


def listen(page: Page, seen: Visit, base: str) -> None:
    def finished(request):
        if request.url.startswith(base):
            seen.weight += serving.weight(request.url.removeprefix(base))

    def asked(request):
        if not request.url.startswith((base, "data:", "blob:")):
            seen.foreign.append(request.url)

    def said(message):
        if message.type == "error":
            seen.errors.append(message.text)

    page.context.on("request", asked)
    page.context.on("requestfinished", finished)
    page.on("console", said)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))


def look_closely(page: Page, seen: Visit, palette: str) -> None:
    scheme = {"light": "default", "dark": "slate"}[palette]
    body = page.locator(f"body[data-md-color-scheme={scheme}]")
    body.wait_for(timeout=10_000)
    found = Axe().run(page, AXE_SEES, AXE_ASKS[palette]).response
    seen.axe[palette] = [
        f"{v['id']}: {node['html'][:200]}"
        for v in found["violations"]
        for node in v["nodes"]
    ]
    seen.faint[palette] = page.evaluate(FAINT)


def test_nothing_is_asked_of_other_sites(visit):
    assert visit.foreign == []


def test_the_console_stays_empty(visit):
    assert visit.errors == []


def test_a_page_has_one_title(visit):
    assert len(visit.titles) == 1 and visit.titles[0].strip()


def test_nothing_moves_while_loading(visit):
    assert visit.shifts < 0.01


def test_axe_finds_nothing_by_day_or_night(visit):
    assert visit.axe == {"light": [], "dark": []}


def test_figures_are_readable_by_day_and_night(visit):
    assert visit.faint == {"light": [], "dark": []}


def test_a_phone_never_scrolls_sideways(visit):
    assert visit.sideways == 0


@pytest.mark.parametrize("url", CHAPTERS + NOTEBOOKS)
def test_a_chapter_weighs_less_than_200_kB(url, visits):
    assert 0 < visits(url).weight < WEIGHT


@pytest.mark.parametrize("url", CHAPTERS + NOTEBOOKS)
def test_without_scripts_maths_code_and_figures_are_there(
    url, browser, base, visits
):
    context = browser.new_context(
        base_url=base, viewport=DESK, java_script_enabled=False
    )
    page = context.new_page()
    page.goto(url)
    counted = page.evaluate(COUNTS)
    assert counted == visits(url).counts
    assert counted["code"] and (counted["maths"] or url in NOTEBOOKS)
    for shown in ("h1", ".md-tabs", ".md-sidebar--primary", ".highlight"):
        assert page.locator(shown).first.is_visible()
    context.close()


@pytest.mark.parametrize("url", [*CHAPTERS, "proof/"])
def test_the_copy_button_yields_the_source_of_the_package(url, page):
    markdown = serving.ROOT / "docs" / f"{url.rstrip('/')}.md"
    expanded = symbols.expand(markdown.read_text("utf-8"), serving.ROOT)
    fences = re.findall(r"^```python[^\n]*\n(.*?)^```$", expanded, re.M | re.S)
    assert copied_from(page, url) == [f.rstrip("\n") for f in fences]


@pytest.mark.parametrize("url", NOTEBOOKS)
def test_a_notebook_yields_its_cells_and_both_files(url, page):
    home = serving.ROOT / "docs" / url.rstrip("/")
    cells = [
        cell["source"]
        for cell in jupytext.read(home.with_suffix(".py"))["cells"]
        if cell["cell_type"] == "code"
    ]
    assert copied_from(page, url) == cells
    for suffix in (".py", ".ipynb"):
        with page.expect_download() as download:
            page.locator(f".files a[href$='{suffix}']").click()
        text = download.value.path().read_text("utf-8")
        got = jupytext.reads(text, fmt=suffix[1:])["cells"]
        assert [c["source"] for c in got if c["cell_type"] == "code"] == cells


def test_attention_can_be_copied_whole(page):
    source = inspect.getsource(attention).rstrip("\n")
    copied = copied_from(page, "transformer/attention/")
    assert any(block.endswith(source) for block in copied)


def copied_from(page: Page, url: str) -> list[str]:
    """What each Python block's copy button puts on the clipboard."""
    page.goto(url, wait_until="networkidle")
    copied = []
    for block in page.locator(".language-python").all():
        block.locator("button[data-md-type=copy]").dispatch_event("click")
        text = page.evaluate("navigator.clipboard.readText()")
        copied.append(text.rstrip("\n"))
    return copied


@pytest.mark.parametrize("term", ["flash_attention", "causal_mask"])
def test_search_finds_symbols(term, page):
    page.goto("notation/", wait_until="networkidle")
    page.keyboard.press("/")
    page.locator(".md-search__input:focus").wait_for()
    page.keyboard.type(term)
    first = page.locator(".md-search-result__link").first
    first.wait_for(timeout=20_000)
    found = page.locator(".md-search-result__link").evaluate_all(
        "links => links.map(a => a.href)"
    )
    chapter = {"flash_attention": "kernels/flash_attention/"}.get(
        term, "transformer/attention/"
    )
    assert any(chapter in urldefrag(href).url for href in found)


def test_the_search_index_waits_until_search_is_opened(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("", wait_until="networkidle")
    assert not [url for url in asked if "search_index" in url]
    page.locator(".md-search__input").focus()
    page.wait_for_load_state("networkidle")
    page.wait_for_function(
        "performance.getEntriesByType('resource')"
        ".some(e => e.name.includes('search_index'))"
    )


def test_a_jump_to_a_section_arrives(page):
    page.goto("contributing/#style", wait_until="networkidle")
    page.wait_for_timeout(200)
    top = page.locator("#style").evaluate("e => e.getBoundingClientRect().top")
    assert 0 <= top < 200


def test_the_keyboard_reaches_text_and_palette(page):
    page.goto("notation/", wait_until="networkidle")
    page.keyboard.press("Tab")
    skip = page.locator(".md-skip")
    assert skip.evaluate("e => e === document.activeElement")
    assert "#" in skip.get_attribute("href")
    page.locator("#__palette_0").focus()
    page.keyboard.press("Enter")
    page.locator("body[data-md-color-scheme=slate]").wait_for(timeout=10_000)


@pytest.mark.parametrize("scripts", [True, False])
def test_the_first_visit_follows_the_systems_palette(scripts, browser, base):
    context = browser.new_context(
        base_url=base, color_scheme="dark", java_script_enabled=scripts
    )
    page = context.new_page()
    page.goto("notation/", wait_until="networkidle")
    paper = "getComputedStyle(document.body).backgroundColor"
    red = int(re.search(r"\d+", page.evaluate(paper))[0])
    assert red < 60
    context.close()
