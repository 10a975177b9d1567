"""What only a browser can see of the built site, proved in Chromium.

It visits the gallery, which holds every component, and the home page closely:
axe by day and by night. A few long pages and the pages that this branch has
changed (changed.py) follow, without what the gallery has settled: colours.
With `--full` it visits every page closely, as the weekly run does. What can
be seen in the HTML is proved there for every page (test_html.py).

A page is loaded once, into a `Visit`; the tests read what it found. Nothing
depends on timing: all motion is stilled, and states are waited for.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.site import built, changed, serving, test_copied
from tests.site.browsing import (
    DESK,
    PHONE,
    TALL,
    UNROLLED,
    arrive,
    draw,
    settle,
)

GALLERY = "gallery/"
CLOSELY = [GALLERY, ""]
LONG = [
    "transformer/gpt/",
    "kernels/flash_attention/",
    "results/transformer/attention/",
]
ALWAYS = [*CLOSELY, *LONG, *serving.notebooks()]
# Formulas are there twice, as MathML and as a hidden drawing: axe reads the
# MathML. On a long page it reads some rows of a table and the first of many
# code blocks; what is left out is made like what the gallery shows.
AXE_SKIPS = {"exclude": [[".katex-html"]]}
THIN_OUT = """() => document.querySelectorAll(
  "tbody tr:nth-child(n + 5), .katex-html, svg[role=img] > *," +
  Array(6).fill(".highlight").join(" ~ ")
).forEach(e => e.remove())"""
AXE_ASKS = {
    "all": {
        "resultTypes": ["violations"],
        "rules": {"target-size": {"enabled": True}},
    },
    "all but colour": {
        "resultTypes": ["violations"],
        "rules": {
            "target-size": {"enabled": True},
            "color-contrast": {"enabled": False},
        },
    },
    # The palette changes colours and nothing else.
    "colour": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},
}

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
  const known = {};
  const contrast = colour => known[colour] ??= (() => {
    const [a, b] = [light(rgb(colour)), paper].sort((x, y) => y - x);
    return (a + .05) / (b + .05);
  })();
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


def visited(full: bool) -> list[str]:
    """The addresses to visit, the gallery first."""
    pages = serving.pages()
    more = pages if full else changed.pages(serving.ROOT, pages)
    return list(dict.fromkeys([*ALWAYS, *more]))


def pytest_generate_tests(metafunc):
    """A page's tests stay in one process: see tests/sharing.py."""
    if "visit" not in metafunc.fixturenames:
        return
    urls = visited(metafunc.config.getoption("--full"))
    ids = [url or "home" for url in urls]
    metafunc.parametrize("visit", urls, indirect=True, ids=ids)


@dataclass
class Visit:
    """What one load of a page showed."""

    url: str
    foreign: list[str] = field(default_factory=list)
    fetched: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    shifts: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    axe: dict[str, list[str]] = field(default_factory=dict)
    faint: dict[str, list[str]] = field(default_factory=dict)
    sideways: int = 0


@pytest.fixture(scope="session")
def visits():
    """The visits made so far, by address."""
    return {}


@pytest.fixture
def visit(request, visits, open_page, base):
    """The visit of a page, made at first asking."""
    url = request.param
    if url not in visits:
        page = open_page()
        closely = url in CLOSELY or request.config.getoption("--full")
        visits[url] = look_at(page, Visit(url), base, closely)
        page.context.close()
    return visits[url]


def look_at(page: Page, seen: Visit, base: str, closely: bool) -> Visit:
    listen(page, seen, base)
    arrive(page, seen.url)
    seen.shifts = page.evaluate("window.shifts")
    page.evaluate(UNROLLED)
    page.set_viewport_size({**DESK, "height": TALL})
    settle(page)
    seen.counts = page.evaluate(COUNTS)
    seen.faint["light"] = page.evaluate(FAINT)
    # The second look is at a phone's width, where more has to scroll.
    page.set_viewport_size({**PHONE, "height": TALL})
    settle(page)
    width = "document.documentElement.scrollWidth - innerWidth"
    seen.sideways = page.evaluate(width)
    turn(page, "slate")
    seen.faint["dark"] = page.evaluate(FAINT)
    if closely:
        seen.axe["dark"] = asked(page, "colour")
    else:
        page.evaluate(THIN_OUT)
    page.set_viewport_size({**DESK, "height": TALL})
    turn(page, "default")
    seen.axe["light"] = asked(page, "all" if closely else "all but colour")
    return seen


def turn(page: Page, scheme: str) -> None:
    """Change the palette, without a pointer that would open tooltips."""
    toggle = {"default": "#__palette_0", "slate": "#__palette_1"}[scheme]
    page.locator(toggle).dispatch_event("click")
    body = page.locator(f"body[data-md-color-scheme={scheme}]")
    body.wait_for(timeout=10_000)
    settle(page)


def listen(page: Page, seen: Visit, base: str) -> None:
    def sent(request):
        if request.url.startswith(base):
            address = urldefrag(request.url).url.removeprefix(base)
            seen.fetched.add(unquote(address))
        elif not request.url.startswith(("data:", "blob:")):
            seen.foreign.append(request.url)

    def said(message):
        if message.type == "error":
            seen.errors.append(message.text)

    page.context.on("request", sent)
    page.on("console", said)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))


def asked(page: Page, question: str) -> list[str]:
    """What axe finds fault with."""
    found = Axe().run(page, AXE_SKIPS, AXE_ASKS[question]).response
    return [
        f"{v['id']}: {node['html'][:200]}"
        for v in found["violations"]
        for node in v["nodes"]
    ]


def test_nothing_is_asked_of_other_sites(visit):
    assert visit.foreign == []


def test_what_is_fetched_is_what_the_page_was_weighed_with(visit):
    assert visit.fetched <= set(built.page(visit.url).files)
    assert visit.url in visit.fetched and len(visit.fetched) > 4


def test_the_console_stays_empty(visit):
    assert visit.errors == []


def test_nothing_moves_while_loading(visit):
    assert visit.shifts < 0.01


def test_axe_finds_nothing(visit):
    assert visit.axe.pop("dark", []) == []
    assert visit.axe == {"light": []}


def test_figures_are_readable_by_day_and_night(visit):
    assert visit.faint == {"light": [], "dark": []}


def test_a_phone_never_scrolls_sideways(visit):
    assert visit.sideways == 0


def test_scripts_add_no_maths_code_figures_or_tables(visit):
    page = built.page(visit.url)
    found = {
        "maths": [*built.of_class(page.root, "katex-html")],
        "code": [
            code
            for block in built.of_class(page.root, "highlight")
            for code in block.iter("code")
        ],
        "drawings": [
            s for f in page.root.iter("figure") for s in f.iter("svg")
        ],
        "tables": [*page.root.iter("table")],
    }
    assert visit.counts == {name: len(all_) for name, all_ in found.items()}


class TestByHand:
    """What a reader does, on a page or two."""

    def test_without_scripts_everything_is_shown(self, open_page):
        page = open_page(java_script_enabled=False)
        page.goto(GALLERY)
        for shown in (
            *("h1", ".md-tabs", ".md-sidebar--primary", ".highlight"),
            *(".katex-html", "figure svg", "table"),
        ):
            assert page.locator(shown).first.is_visible()
        page.context.close()

    def test_the_copy_button_yields_source_and_imports(self, page):
        arrive(page, GALLERY)
        for language in ("python", "console"):
            copied = []
            for block in page.locator(f".language-{language}").all():
                block.locator("button.copy").dispatch_event("click")
                block.locator("button.copy.done").wait_for(state="attached")
                copied.append(page.evaluate("navigator.clipboard.readText()"))
            assert copied == test_copied.blocks_of(GALLERY, language)
            assert copied
        assert page.locator("[role=status].spoken").inner_text() == "Copied"

    @pytest.mark.parametrize("url", serving.notebooks())
    def test_a_notebooks_files_can_be_downloaded(self, url, page):
        arrive(page, url)
        for suffix in (".py", ".ipynb"):
            with page.expect_download() as download:
                page.locator(f".files a[href$='{suffix}']").click()
            name = f"{url.rstrip('/').rpartition('/')[2]}{suffix}"
            laid = (built.home() / url / name).read_bytes()
            assert download.value.path().read_bytes() == laid

    def test_search_is_opened_by_a_key_walked_by_arrows_and_entered(
        self, page
    ):
        arrive(page, "contributing/")
        page.keyboard.press("/")
        page.locator(".find input:focus").wait_for()
        page.keyboard.type("causal_mask")
        first = page.locator(".find ol a").first
        first.wait_for(timeout=20_000)
        page.keyboard.press("ArrowDown")
        assert first.evaluate("e => e === document.activeElement")
        page.keyboard.press("Enter")
        page.wait_for_url("**/transformer/attention/*")

    def test_on_a_phone_search_spreads_over_the_header(self, open_page):
        page = open_page(viewport=PHONE)
        arrive(page, "contributing/")
        page.locator(".find input").click()
        page.keyboard.type("rope")
        page.locator(".find ol a").first.wait_for(timeout=20_000)
        assert page.locator(".find input").bounding_box()["width"] > 300
        results = page.locator(".find__results").bounding_box()
        assert results["x"] == 0 and results["width"] == PHONE["width"]
        page.context.close()

    def test_the_search_index_waits_until_search_is_opened(self, page):
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        arrive(page, "contributing/")
        assert not [url for url in asked if "search/index" in url]
        with page.expect_request(re.compile("search/index.json")):
            page.locator(".find input").focus()

    def test_only_our_own_small_scripts_are_fetched(self, page):
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        arrive(page, GALLERY)
        scripts = {u.rpartition("/")[2] for u in asked if ".js" in u}
        assert scripts <= {"book.js", "cards.js", "search.js", "figures.js"}
        assert "book.js" in scripts

    def test_no_script_changes_what_the_browser_brings(self, page):
        """A function of the browser's own says "[native code]"."""
        arrive(page, GALLERY)
        changed = page.evaluate("""() => [
          fetch, Worker, XMLHttpRequest, XMLHttpRequest.prototype.open,
          XMLHttpRequest.prototype.send, EventTarget.prototype
          .addEventListener, Element.prototype.attachShadow, history.pushState
        ].filter(f => !String(f).includes("[native code]")).map(String)""")
        assert changed == []

    @pytest.mark.parametrize("late", [False, True])
    def test_the_first_click_turns_the_palette(self, late, page):
        """Also one that comes before the script that keeps it."""
        if late:
            page.route("**/book.js", lambda route: held.append(route))
        held = []
        page.goto("contributing/", wait_until="commit")
        page.locator("label[for=__palette_1]").click()
        for route in held:
            route.continue_()
        page.unroute_all()
        page.locator("body[data-md-color-scheme=slate]").wait_for()
        page.locator("label[for=__palette_0]:visible").wait_for()
        page.reload()
        page.locator("body[data-md-color-scheme=slate]").wait_for()

    def test_the_contents_mark_the_section_that_is_read(self, page):
        arrive(page, "contributing/")
        page.locator("#style").evaluate("e => e.scrollIntoView()")
        draw(page)
        marked = ".md-nav--secondary .md-nav__link--active[href='#style']"
        page.locator(marked).wait_for()
        assert (
            page.locator(
                ".md-nav--secondary .md-nav__link--active[href^='#']"
            ).count()
            == 1
        )

    @pytest.mark.parametrize(
        "place", ["contributing/#style", "transformer/attention/#sources"]
    )
    def test_a_jump_to_a_section_arrives(self, place, page):
        arrive(page, place)
        page.wait_for_function(
            "id => scrollY > 0 && (top => 0 <= top && top < 200)"
            "(document.getElementById(id).getBoundingClientRect().top)",
            arg=place.partition("#")[2],
            polling=50,
            timeout=10_000,
        )

    def test_what_scrolls_can_be_reached_once_it_is_seen(self, open_page):
        page = open_page(viewport=PHONE)
        arrive(page, "transformer/attention/")
        wide = page.evaluate("""() => [
          ...document.querySelectorAll(".highlight > pre > code")
        ].findLastIndex(e => !e.closest("details:not([open])") &&
          e.textContent.split("\\n").some(line => line.length > 60))""")
        block = page.locator(".highlight > pre > code").nth(wide)
        assert block.get_attribute("tabindex") is None
        block.evaluate("e => e.scrollIntoView()")
        draw(page)
        page.locator(".highlight > pre > code[tabindex='0']").nth(0).wait_for()
        page.wait_for_function(
            "e => e.tabIndex === 0", arg=block.element_handle()
        )
        page.context.close()

    def test_the_keyboard_reaches_text_and_palette(self, page):
        arrive(page, "contributing/")
        page.keyboard.press("Tab")
        skip = page.locator(".md-skip")
        assert skip.evaluate("e => e === document.activeElement")
        assert "#" in skip.get_attribute("href")
        page.locator("#__palette_0").focus()
        page.keyboard.press("Enter")
        dark = page.locator("body[data-md-color-scheme=slate]")
        dark.wait_for(timeout=10_000)

    @pytest.mark.parametrize("scripts", [True, False])
    def test_the_first_visit_follows_the_systems_palette(
        self, scripts, open_page
    ):
        page = open_page(color_scheme="dark", java_script_enabled=scripts)
        page.goto("contributing/", wait_until="networkidle")
        paper = "getComputedStyle(document.body).backgroundColor"
        red = int(re.search(r"\d+", page.evaluate(paper))[0])
        assert red < 60
        page.context.close()
