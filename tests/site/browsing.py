"""One browser for all tests of the site, and pages of it that stand still.

A plugin of every run (conftest.py): Playwright allows one browser in a
process, so no file may make its own.
"""

import os

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.site import built, serving

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 800}

AT_FIRST = """
window.shifts = 0;
new PerformanceObserver(list => {
  for (const e of list.getEntries())
    if (!e.hadRecentInput) window.shifts += e.value;
}).observe({type: "layout-shift", buffered: true});
addEventListener("DOMContentLoaded", () => {
  const still = document.createElement("style");
  still.textContent = `*, ::before, ::after { animation: none !important;
    transition: none !important; scroll-behavior: auto !important }`;
  document.head.append(still);
});
"""
# A page is laid out as it is scrolled; here all of it is looked at.
UNROLLED = """document.head.append(Object.assign(
  document.createElement("style"),
  {textContent: "* { content-visibility: visible !important }"}))"""
# The faces are there, and book.js has made reachable whatever scrolls: it
# measures what comes into the window, so a tall one shows all.
SETTLED = """() => document.fonts.status === "loaded" &&
  [...document.querySelectorAll(
    "div.arithmatex, .md-typeset__scrollwrap, pre > code")]
    .filter(e => e.checkVisibility() &&
      e.getBoundingClientRect().top < innerHeight)
    .every(e => (e.scrollWidth > e.clientWidth) === (e.tabIndex === 0))"""
TALL = 40_000  # px, more than any page


@pytest.fixture(scope="session")
def base():
    with serving.serve(built.home()) as address:
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


@pytest.fixture(scope="session")
def open_page(browser, base):
    """Open a page, stilled; `close` it afterwards."""

    def opened(**options) -> Page:
        context = browser.new_context(
            base_url=base,
            reduced_motion="reduce",
            **{"viewport": DESK, "color_scheme": "light", **options},
        )
        context.add_init_script(AT_FIRST)
        return context.new_page()

    return opened


@pytest.fixture
def page(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    yield page
    page.context.close()


def arrive(page: Page, url: str) -> None:
    """Load a page, and wait until it has settled."""
    page.goto(url, wait_until="networkidle")
    settle(page)


def settle(page: Page) -> None:
    """Wait for a state, not for a frame: Chromium may owe us one forever."""
    page.wait_for_function(SETTLED, polling=50, timeout=30_000)


def draw(page: Page) -> None:
    """Have the page drawn: only then it hears of scrolls and of what is seen.

    A page that nobody looks at gets no frames.
    """
    page.screenshot()
