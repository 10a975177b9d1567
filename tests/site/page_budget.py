"""What a chapter's page costs its reader, beside what it may cost.

`make check` prints the table; it is no gate. Where there is no browser it
says so.

height   of the page at 1280, at most 15,000 px
figure   where the first figure begins, at most at 1,600 px
drawn    how many figures are drawn, not charts: at least one
code     the share of the height that code takes, at most 30 %
text     where the first paragraph begins, at 1280 and on a phone
formula  the widest display formula on a phone: at most 339 px
label    the smallest words of a chart on a phone: at least 11 px
hidden   what is wider than a phone and has no cue that it scrolls
"""

from playwright.sync_api import sync_playwright

from tests.site import serving

DESK = {"width": 1280, "height": 900}
PHONE = {"width": 375, "height": 800}
MOST = {
    "height": 15_000,
    "figure": 1_600,
    "code": 30,
    "text": 420,
    "phone text": 450,
    "formula": 339,
    "hidden": 0,
}
LEAST = {"drawn": 1, "label": 11}

# All of it is laid out, also what is far below.
WHOLE = "* { content-visibility: visible !important }"
AT_DESK = """() => {
  const body = document.querySelector("article");
  const top = e => Math.round(e.getBoundingClientRect().top + scrollY);
  const tall = css => [...body.querySelectorAll(css)]
    .filter(e => e.checkVisibility() && !e.parentElement.closest(css))
    .reduce((sum, e) => sum + e.getBoundingClientRect().height, 0);
  const figure = body.querySelector("figure");
  const text = body.querySelector("p:not(.standfirst, .chapter)");
  return {
    height: Math.round(body.getBoundingClientRect().height),
    figure: figure ? top(figure) : 99999,
    drawn: body.querySelectorAll("figure.drawn," +
      "figure.chart:not(.drawn):has(> svg:not(.chart))").length,
    code: Math.round(100 * tall(".highlight") /
      body.getBoundingClientRect().height),
    text: top(text),
  };
}"""
ON_PHONE = """() => {
  const body = document.querySelector("article");
  const text = body.querySelector("p:not(.standfirst, .chapter)");
  const seen = css => [...body.querySelectorAll(css)]
    .filter(e => e.checkVisibility());
  const words = seen("figure svg text").map(e =>
    parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a);
  const wide = seen(".arithmatex, pre > code, .results-table, .scroll")
    .filter(e => e.scrollWidth > e.clientWidth + 1);
  const cue = e => getComputedStyle(e).backgroundImage !== "none" ||
    getComputedStyle(e).maskImage !== "none";
  const formulas = seen("div.arithmatex .katex-display > .katex");
  return {
    "phone text": Math.round(text.getBoundingClientRect().top + scrollY),
    formula: Math.round(Math.max(0, ...formulas.map(e => e.scrollWidth))),
    label: Math.round(10 * Math.min(99, ...words)) / 10,
    hidden: wide.filter(e => !cue(e)).length,
  };
}"""


def measured() -> dict[str, dict]:
    """Return {address: {column: number}} for each chapter."""
    found = {}
    with serving.serve(serving.SITE) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=serving.chromium(), args=serving.FLAGS
        )
        page = browser.new_page(reduced_motion="reduce")
        for url in serving.chapters():
            page.set_viewport_size(DESK)
            page.goto(f"{base}{url}")
            page.add_style_tag(content=WHOLE)
            row = page.evaluate(AT_DESK)
            page.set_viewport_size(PHONE)
            found[url] = row | page.evaluate(ON_PHONE)
        browser.close()
    return found


def over(name: str, value: float) -> bool:
    """Whether a number is more, or less, than the budget has."""
    return value > MOST.get(name, value) or value < LEAST.get(name, value)


def table(rows: dict[str, dict]) -> str:
    """Return the rows as text; a star stands behind what is over budget."""
    names = [*MOST, *LEAST]
    width = max(map(len, rows))
    lines = [f"{'page':{width}}" + "".join(f"{n:>12}" for n in names)]
    for url, row in rows.items():
        cells = [
            f"{row[n]:,g}{'*' if over(n, row[n]) else ' '}" for n in names
        ]
        lines.append(f"{url:{width}}" + "".join(f"{c:>12}" for c in cells))
    budget = [f"{(MOST | LEAST)[n]:,g} " for n in names]
    return "\n".join(
        [*lines, f"{'budget':{width}}" + "".join(f"{b:>12}" for b in budget)]
    )


def main() -> None:
    """Print the table, or why there is none."""
    if serving.chromium() is None:
        print("No Chromium here: the pages' budget was not measured.")
        return
    serving.build_if_older()
    print(table(measured()))


if __name__ == "__main__":
    main()
