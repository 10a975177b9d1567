"""What draws in the browser is the network of the package, and its sampler.

The page of these tests holds one figure, the style sheet and the scripts; no
site is built for it.
"""

import json
import shutil

import numpy as np
import pytest
import torch

from llmnotes._site.figures import drawn, guidance
from llmnotes.diffusion.ddim.spacing import trailing
from llmnotes.diffusion.ddpm import runs
from llmnotes.diffusion.guidance import ClassifierFree
from tests.contests import ROOT
from tests.diffusion.guidance import demo
from tests.site import serving

IMPORT = "async (given) => { const it = await import('/assets/diffusion.js');"
WEIGHTS = "const weights = await it.load('/results/diffusion/small');"
PAGE = """<!doctype html><html lang="en" class="js"><head>
<meta charset="utf-8"><title>Demo</title>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="/assets/book.css"><link rel="icon" href="data:,">
</head><body data-md-color-scheme="default"><main class="md-typeset">{}</main>
<script src="/assets/figures.js"></script></body></html>"""


@pytest.fixture(scope="module")
def denoiser():
    """A small one with weights of every size that 16 bits hold exactly."""
    made = runs.untrained("data", config=demo.SHAPE)
    made.network = made.network.average
    draw = torch.Generator().manual_seed(0)
    for weight in made.network.parameters():
        values = torch.randn(weight.shape, generator=draw) / 5
        weight.data = values.half().float()
        weight.data.view(-1)[0] = 3 * 2**-24  # below the normal numbers
    return made.eval()


def strip():
    """Rows as the bench records them, of a picture that is made up."""
    draw = torch.Generator().manual_seed(0)
    for scale in (demo.SCALE, *demo.OTHERS):
        pictures = torch.rand(10, 8, 8, generator=draw) * 2 - 1
        for digit, greys in enumerate(demo.greys(pictures)):
            yield {
                "scale": scale, "digit": digit, "steps": demo.STEPS,
                "seed": demo.SEED, "greys": greys,
            }  # fmt: skip


@pytest.fixture(scope="module")
def figure():
    """The figure, drawn from the made-up strip."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guidance, "rows", lambda page, name: strip())
        return guidance.demo(None)


@pytest.fixture(scope="module")
def site(tmp_path_factory, denoiser, figure):
    """The address of a folder with the page, the scripts and weights."""
    root = tmp_path_factory.mktemp("demo")
    (root / "results/diffusion").mkdir(parents=True)
    (root / "assets").mkdir()
    for name in ("book.css", "figures.js", "diffusion.js"):
        shutil.copy(ROOT / "docs/assets" / name, root / "assets")
    demo.write(denoiser, root / "results/diffusion/small")
    demo.write(denoiser, root / "results/diffusion/guidance.safetensors")
    html = drawn.html(figure, "guidance:demo", "Ten digits", "A strip.")
    (root / "index.html").write_text(PAGE.format(html), "utf-8")
    with serving.serve(root) as address:
        yield address


@pytest.fixture
def opened(browser, site):
    """The page, and what it has asked for since."""
    context = browser.new_context(base_url=site)
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto("/")
    yield page
    context.close()


def answer(page, body, given=None, start=IMPORT + WEIGHTS):
    """What the module of the page returns, as NumPy."""
    return np.array(page.evaluate(start + body + "}", given))


def draws(count=5, seed=3):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, 8, 8, generator=draw)


def test_what_the_network_says_is_what_pythons_says(opened, denoiser):
    x = draws()
    times = torch.tensor([1, 17, 400, 873, 1000])
    labels = torch.tensor([0, 4, 9, 10, 7])
    given = [
        [picture.flatten().tolist(), t, label]
        for picture, t, label in zip(
            x, times.tolist(), labels.tolist(), strict=True
        )
    ]
    said = answer(
        opened,
        "return given.map(([x, t, label]) => "
        "[...it.network(weights, Float32Array.from(x), t / 1000, label)]);",
        given,
    )
    with torch.no_grad():
        expected = denoiser(x, times, labels).flatten(1).numpy()
    assert expected.std() > 0.3
    np.testing.assert_allclose(said, expected, atol=1e-4)


@pytest.mark.parametrize("scale", [0, 1, 2.5])
def test_guidance_is_pythons(opened, denoiser, scale):
    x, t = draws(1), torch.tensor([700])
    said = answer(
        opened,
        "return [...it.guided(weights, Float32Array.from(given[0]), .7, 3, "
        "given[1])];",
        [x.flatten().tolist(), scale],
    )
    guided = ClassifierFree(denoiser, scale)
    with torch.no_grad():
        expected = guided.data(x, t, torch.tensor([3])).flatten().numpy()
    np.testing.assert_allclose(said, expected, atol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 7, 10, 16, 50])
def test_the_steps_and_the_levels_are_pythons(opened, denoiser, count):
    visited = answer(opened, "return it.times(given);", count, IMPORT)
    assert visited.tolist() == trailing(1000, count)
    levels = answer(
        opened, "return it.levels().map((l) => [l.alpha, l.sigma]);",
        start=IMPORT,
    )  # fmt: skip
    schedule = denoiser.schedule
    np.testing.assert_allclose(levels[:, 0], schedule.alphas, atol=1e-9)
    np.testing.assert_allclose(levels[:, 1], schedule.sigmas, atol=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 99])
def test_the_noise_is_pythons_and_normal(opened, seed):
    found = answer(opened, "return it.normals(given, 640);", seed, IMPORT)
    np.testing.assert_allclose(found, demo.normals(seed, 640), atol=1e-12)
    assert abs(found.mean()) < 0.13 and abs(found.std() - 1) < 0.1


def test_pictures_are_pythons(opened, denoiser):
    """Five steps at scale 3, from the browser's own noise."""
    found = answer(
        opened,
        "const noise = it.normals(7, 640); return [0, 4].map((digit) => "
        "[...it.drawn(weights, noise.slice(64 * digit, 64 * digit + 64), "
        "digit, 3, 5)]);",
    )
    expected = demo.drawn(denoiser, 3.0, 5, 7)[[0, 4]].flatten(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def ink(page, row, css="svg.wide"):
    """The paths of a row that is seen, one for each grey."""
    paths = page.locator(f"{css} [data-row='{row}'] path")
    return paths.evaluate_all("all => all.map((p) => p.getAttribute('d'))")


def greys_of(lines):
    """A row of pictures, read back from its paths."""
    found = np.zeros((8, 98), int)
    for grey, line in enumerate(lines, 1):
        for run in line.split("M")[1:]:
            place, _, long = run.partition("h")
            x, y = map(int, place.split())
            found[y, x : x + int(long.partition("v")[0])] = grey
    return np.stack([found[:, 10 * i : 10 * i + 8] for i in range(10)])


def levels_of(words):
    """Pictures out of their letters."""
    return np.array(
        [[[int(v, 16) for v in r] for r in w.split()] for w in words]
    )


def press(page, name, key, times=1):
    page.locator(f"input[name={name}]").focus()
    for _ in range(times):
        page.keyboard.press(key)


def settled(page, start):
    """Wait until the state says so."""
    page.wait_for_function(
        "start => document.querySelector('.state').textContent"
        ".startsWith(start)", arg=f"{start}: drawn in your browser",
    )  # fmt: skip


class TestFigure:
    """By keyboard, on the page."""

    def test_nothing_is_fetched_until_something_is_moved(self, opened):
        assert not [url for url in opened.asked if "diffusion" in url]
        assert opened.locator(".state").text_content() == (
            "Scale 3, 10 steps, noise 1."
        )
        press(opened, "scale", "ArrowRight")
        settled(opened, "Scale 3.5, 10 steps, noise 1")
        asked = [url.rpartition("/")[2] for url in opened.asked]
        assert asked[-2:] == ["diffusion.js", "guidance.safetensors"]

    def test_at_first_it_is_what_was_recorded(self, opened):
        for row, scale in zip(["own", 0, 8], [3, 0, 8], strict=True):
            words = [r["greys"] for r in strip() if r["scale"] == scale]
            for css in ("svg.wide", "svg.narrow"):
                found = greys_of(ink(opened, row, css))
                assert np.array_equal(found, levels_of(words))

    def test_only_the_readers_row_follows_the_scale(self, opened, denoiser):
        before = ink(opened, 8)
        press(opened, "scale", "ArrowRight", 3)
        settled(opened, "Scale 4.5, 10 steps, noise 1")
        assert ink(opened, 8) == before
        self.matches(opened, "own", demo.drawn(denoiser, 4.5))

    def test_all_rows_follow_steps_and_noise(self, opened, denoiser):
        press(opened, "steps", "ArrowLeft", 7)
        press(opened, "seed", "ArrowRight", 4)
        settled(opened, "Scale 3, 3 steps, noise 5")
        for row, scale in {"own": 3, **{s: s for s in demo.OTHERS}}.items():
            row = row if row == "own" else f"{row:g}"
            self.matches(opened, row, demo.drawn(denoiser, scale, 3, 5))

    def matches(self, page, row, pictures):
        """Both pictures; rounding may move a pixel by one grey."""
        expected = levels_of(demo.greys(pictures))
        for css in ("svg.wide", "svg.narrow"):
            off = np.abs(greys_of(ink(page, row, css)) - expected)
            assert off.max() <= 1 and off.mean() < 0.01

    def test_what_cannot_be_fetched_is_said_and_tried_again(self, opened):
        opened.route("**/*.safetensors", lambda route: route.abort())
        press(opened, "seed", "ArrowRight")
        opened.wait_for_function(
            "() => document.querySelector('.state').textContent"
            " === 'What draws could not be fetched.'"
        )
        opened.unroute_all()
        press(opened, "seed", "ArrowRight")
        settled(opened, "Scale 3, 10 steps, noise 3")

    def test_every_slider_has_a_name_and_fits_a_phone(self, opened):
        opened.set_viewport_size({"width": 375, "height": 800})
        for name in ("Guidance scale", "Steps", "Noise"):
            assert opened.get_by_label(name).is_visible()
        width = "document.documentElement.scrollWidth - innerWidth"
        assert opened.evaluate(width) <= 0
        small = opened.locator("svg.narrow text.small").first
        size = "e => parseFloat(getComputedStyle(e).fontSize)"
        assert small.evaluate(size) >= 12


def test_without_scripts_the_strip_stands(browser, site):
    context = browser.new_context(base_url=site, java_script_enabled=False)
    page = context.new_page()
    page.goto("/")
    assert page.locator("svg.wide [data-row='0']").is_visible()
    assert any(ink(page, "own"))
    context.close()


def test_the_figure_carries_few_bytes(figure):
    data = json.dumps(figure.data)
    svgs = figure.wide.svg() + figure.narrow.svg()
    assert len(data) < 200 and len(svgs) < 250_000
