"""A figure is drawn by a function, stands without scripts, and can be moved.

What a reader sees after moving it is what the package computes.
"""

import math
import re
import xml.etree.ElementTree as etree

import pytest
import torch

from llmnotes._site.figures import fence
from llmnotes._site.figures.drawn import Drawing, Slider, html
from llmnotes._site.figures.pen import Pen, scripts
from llmnotes._site.figures.rope import wedge
from llmnotes.transformer.attention import attention, attention_weights
from llmnotes.transformer.gpt import next_distribution
from llmnotes.transformer.rope import angles, rotate_interleaved
from tests.site import built, serving
from tests.site.browsing import arrive

GOOD = "draw: gallery:marks\nalt: Boxes & dots\ncaption: The `point`.\n"


def written(body):
    return f"# T\n\n```figure\n{body}```\n"


class TestFence:
    """A fence becomes a figure, or ends the build."""

    def test_a_figure_has_its_words_and_a_picture_for_a_phone(self, shared):
        page = shared.html("page", written(GOOD))
        assert page.count('aria-label="Boxes &amp; dots"') == 2
        assert re.findall(r'<svg class="(\w+)"', page) == ["wide", "narrow"]
        assert "The <code>point</code>." in page

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("gallery:marks", "gallery:signs", "no drawing 'signs'"),
            ("gallery:marks", "galery:marks", "no module of figures 'galery'"),
            ("gallery:marks", "gallery:Pen", "no drawing 'Pen'"),
            ("alt: Boxes & dots\n", "", "missing alt"),
            ("caption: The `point`.\n", "", "missing caption"),
            ("alt:", "alternative:", "unknown option"),
        ],
    )
    def test_what_cannot_be_drawn_ends_the_build(self, old, new, said, shared):
        error = shared.failure("page", written(GOOD.replace(old, new)))
        assert error.startswith("figure ") and said in error

    def test_a_number_that_nobody_recorded_ends_the_build(self, shared):
        body = GOOD.replace("gallery:marks", "rope:clocks")
        error = shared.failure("page", written(body))
        assert "figure rope:clocks: no result" in error

    def test_only_frames_and_sliders_bring_controls(self):
        still = html(Drawing(Pen(10, 10)), "a:b", "", "")
        slider = Slider("x", "X", 0, 1, 0.5, 1)
        moving = html(Drawing(Pen(10, 10), sliders=[slider]), "a:b", "", "")
        assert "controls" not in still and "moving" not in still
        assert 'id="a-b-x"' in moving and 'step="0.5" value="1"' in moving


class TestPen:
    """What the pen writes is SVG without colours or ids."""

    def test_words_may_be_low_and_high(self):
        line = etree.fromstring(f"<text>{scripts('W_{O} & x^{2}!')}</text>")
        assert "".join(line.itertext()) == "WO & x2!"
        shifts = [float(s.get("dy")[:-2]) for s in line]
        # Down by .28 of three quarters, back, up by .42 of these, back.
        assert shifts == [0.28, -0.21, -0.42, 0.32]

    def test_a_frame_is_shown_only_if_it_is_the_first_to_be_seen(self):
        pen = Pen(10, 10)
        for frames in (0, [1, 2]):
            with pen.group(frame=frames, default=1):
                pen.dot(1, 1)
        first, second = etree.fromstring(pen.svg())
        assert (first.get("data-frame"), first.get("display")) == ("0", "none")
        assert second.get("data-frame") == "1 2"
        assert second.get("display") is None

    def test_an_arrow_ends_where_it_points(self):
        pen = Pen(10, 10)
        pen.arrow(0, 0, 30, 40, "c2 dashed")
        line, head = etree.fromstring(pen.svg())
        assert line.get("d") == "M0 0L25.8 34.4"  # the head takes 7 px
        assert head.get("d").startswith("M30 40L")
        assert head.get("class") == "head c2"

    def test_links_can_be_followed_by_a_screen_reader(self):
        pen = Pen(10, 10)
        assert 'role="img"' in pen.svg()
        with pen.link("there/", "There"):
            pen.box(0, 0, 5, 5)
        assert 'role="group"' in pen.svg()

    @pytest.mark.parametrize(
        ("query", "key", "end", "over"),
        [
            (math.pi / 2, 0, "0.00 -10.00", "0"),
            (0, math.pi / 2, "10.00 -0.00", "1"),
            (2 * math.pi - 0.1, 0.1, "9.95 1.00", "1"),
        ],
    )
    def test_the_slice_between_two_hands_is_the_shorter(
        self, query, key, end, over
    ):
        found = wedge(query, key, 10)
        assert found.endswith(f" 0 0 {over} {end}Z")


def rows(reference):
    """The rows of a result, as {column: value}."""
    return list(fence.rows(fence.Page("", serving.ROOT, {}), reference))


def looked_up(turn, scale):
    """Weights and answer for a query at an angle, as the package has them."""
    degrees = [row["degrees"] for row in rows("transformer/attention:hand")]
    angle = torch.tensor([*degrees, turn], dtype=torch.float64).deg2rad()
    place = torch.stack([angle.cos(), angle.sin()], -1)
    key, query = place[:-1], place[-1:]
    weights = attention_weights(query, key, scale=scale)[0]
    return weights, attention(query, key, key, scale=scale)[0]


def scored(query, key, theta):
    """The score of one word at two places, as the package has it."""
    d = 2 * len(theta)
    word = torch.tensor([[1.0, 0.0] * len(theta)], dtype=torch.float64)
    q, k = (
        rotate_interleaved(
            word, angles(torch.tensor([at]), d, dtype=torch.float64)
        )
        for at in (query, key)
    )
    return (q @ k.mT).item()


def press(page, place, key, times=1):
    page.locator(place).focus()
    for _ in range(times):
        page.keyboard.press(key)


def state(page):
    return page.locator(".state").first.text_content()


def shown(page, css):
    """The words of an element of the picture that is seen."""
    return page.locator(f"svg.wide {css}").all_text_contents()


class TestMoving:
    """By keyboard and by hand, on the pages where the figures stand."""

    def test_attention_is_computed_anew(self, page):
        arrive(page, "transformer/attention/")
        before = shown(page, ".share")
        press(page, "#attention-lookup-turn", "ArrowRight", 35)
        press(page, "#attention-lookup-scale", "ArrowRight", 5)
        weights, (x, y) = looked_up(95, 4.5)
        expected = [f"{100 * w:.0f}%" for w in weights.tolist()]
        assert shown(page, ".share") == expected != before
        best = int(weights.argmax())
        words = f"At 95°, scale 4.5: key {best + 1} gives {expected[best]}"
        assert state(page).startswith(words)
        radius, place = page.evaluate(
            """() => { const g = document.querySelector("svg.wide .lookup");
            return [g.dataset.radius,
              g.querySelector(".answer").getAttribute("transform")] }"""
        )
        found = [float(n) for n in re.findall(r"-?[\d.]+(?:e-\d+)?", place)]
        r = float(radius)
        assert found == pytest.approx([r * x.item(), -r * y.item()], abs=0.01)

    def test_at_scale_zero_all_keys_weigh_the_same(self, page):
        arrive(page, "transformer/attention/")
        press(page, "#attention-lookup-scale", "Home")
        assert len(set(shown(page, ".share"))) == 1
        assert shown(page, ".share")[0] in ("12%", "13%")

    def test_the_hand_can_be_dragged(self, page):
        arrive(page, "transformer/attention/")
        page.locator("svg.wide .rim").scroll_into_view_if_needed()
        rim = page.locator("svg.wide .rim").bounding_box()
        grip = page.locator("svg.wide .grip").bounding_box()
        page.mouse.move(*middle(grip))
        page.mouse.down()
        x, y = middle(rim)
        page.mouse.move(x, y - 90)  # up: 90 degrees
        page.mouse.move(x - 90, y)  # left: 180 degrees
        page.mouse.up()
        page.mouse.move(x + 90, y)  # let go: moves nothing
        assert state(page).startswith("At 180°")
        assert page.locator("#attention-lookup-turn").input_value() == "180"

    def test_the_angle_between_clocks_depends_on_the_lag(self, page):
        arrive(page, "transformer/rope/")
        theta = [row["theta"] for row in rows("transformer/rope:clocks")]
        at_first = shown(page, ".product")
        press(page, "#rope-clocks-place", "ArrowRight", 40)
        assert shown(page, ".product") == at_first
        assert state(page).startswith("Query at 48, key at 43: the lag is 5")
        press(page, "#rope-clocks-lag", "ArrowRight", 7)
        assert shown(page, ".product") != at_first
        score = f"{scored(55, 43, theta):.2f}"
        assert state(page).endswith(f"the lag is 12, the score {score}.")

    def test_the_tiles_of_a_row_are_stepped_through(self, page):
        arrive(page, "kernels/flash_attention/")
        tiles = rows("kernels/flash_attention:online")
        assert f"ℓ = {tiles[1]['ell']:.2f}, " in state(page)
        next_ = ".stepper button:last-of-type"
        press(page, next_, "Enter", 2)
        assert page.locator(".stepper span").text_content() == "step 7 of 8"
        for value in (tiles[2]["ell"], tiles[2]["acc"]):
            text = f"{value:.2f}"
            assert text in state(page)
            seen = page.locator(f"svg.wide text:text-is('{text}')").all()
            assert any(e.is_visible() for e in seen)
        press(page, next_, "Enter", 3)
        assert f"= {tiles[2]['softmax']:.2f} is written" in state(page)
        button = page.locator(next_)
        assert button.get_attribute("aria-disabled") == "true"
        press(page, ".stepper button:first-of-type", "Space", 20)
        assert page.locator(".stepper span").text_content() == "step 1 of 8"

    def test_each_checkpoint_shows_its_text_and_its_loss(self, page):
        arrive(page, "transformer/gpt/")
        slider = page.locator("#writing-curve-frame")
        losses = {
            row["step"]: row["loss"]
            for row in rows("transformer/gpt_writing:loss")
        }
        texts = rows("transformer/gpt_writing:texts")
        figure = page.locator("figure:has(#writing-curve-frame)")
        for row in reversed(texts):  # it stands at the last one
            words = f"After {row['step']:,} steps the loss is "
            words += f"{losses[row['step']]:.2f}."
            assert figure.locator(".state").text_content() == words
            lines = [
                line.text_content()
                for line in figure.locator("svg.wide text.mono").all()
                if line.is_visible()
            ]
            assert "".join("".join(lines).split()) in "".join(
                row["text"].split()
            )
            assert "".join(lines).strip()
            slider.press("ArrowLeft")
        assert slider.get_attribute("aria-valuetext") == words

    @pytest.mark.parametrize(
        ("presses", "options"),
        [
            ({}, {}),
            ({"temperature": -5}, {"temperature": 0.5}),
            ({"temperature": -10}, {"temperature": 0}),
            (
                {"temperature": 6, "top_k": -61},
                {"temperature": 1.6, "top_k": 4},
            ),
            ({"top_p": -4}, {"top_p": 0.8}),
            ({"min_p": 10}, {"min_p": 0.2}),
            (
                {"temperature": 3, "top_k": -58, "top_p": -2, "min_p": 7},
                {"temperature": 1.3, "top_k": 7, "top_p": 0.9, "min_p": 0.14},
            ),
        ],
        ids=str,
    )
    def test_the_chances_are_those_of_the_package(
        self, page, presses, options
    ):
        arrive(page, "transformer/gpt/")
        for name, times in presses.items():
            key = "ArrowRight" if times > 0 else "ArrowLeft"
            press(page, f"#sampling-bars-{name}", key, abs(times))
        found = rows("transformer/gpt_writing:next")
        chances = torch.tensor(
            [r["chance"] for r in found if r["opening"] == found[0]["opening"]]
        )
        expected = next_distribution(chances.log()[None], **options)[0]
        figure = page.locator("figure:has(#sampling-bars-top_k)")
        shares = figure.locator("svg.wide .share").all_text_contents()
        assert [int(s.rstrip("%")) for s in shares] == pytest.approx(
            [100 * p for p in expected[: len(shares)].tolist()], abs=0.501
        )
        count = int((expected > 0).sum())
        words = figure.locator(".state").text_content().split(" can be")[0]
        said = {1: "One character", 65: "All 65 characters"}
        assert words == said.get(count, f"{count} characters")

    def test_without_scripts_and_on_paper_a_figure_stands(self, open_page):
        page = open_page(java_script_enabled=False)
        page.goto("kernels/flash_attention/")
        assert page.locator("figure.drawn svg.wide").first.is_visible()
        assert not page.locator(".controls").first.is_visible()
        page.context.close()
        page = open_page()
        page.goto("kernels/flash_attention/")
        assert page.locator(".controls").first.is_visible()
        page.emulate_media(media="print")
        assert not page.locator(".controls").first.is_visible()
        page.context.close()


def middle(box):
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def moving(url):
    return [*built.of_class(built.page(url).article, "moving")]


@pytest.mark.parametrize("url", serving.pages(), ids=lambda url: url or "home")
def test_the_script_is_loaded_where_a_figure_moves_and_only_there(url):
    loaded = "assets/figures.js" in built.page(url).files
    assert loaded == bool(moving(url))


def test_every_figure_draws_at_first_what_its_results_say():
    """The script draws anew on arrival: so both must say the same."""
    attend = rows("transformer/attention:hand")
    weights, answer = looked_up(60, 2.0)
    assert [row["weight"] for row in attend] == pytest.approx(weights.tolist())
    assert [attend[0]["x"], attend[0]["y"]] == pytest.approx(answer.tolist())
