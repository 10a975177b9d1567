"""What the checker sees, and that it does not guess."""

import itertools

import pytest
import torch

from llmnotes.scenes import looking
from llmnotes.scenes.drawing import BACKGROUND, HALF, PALETTE, SIDE
from llmnotes.scenes.looking import look
from llmnotes.scenes.scene import COLOURS, SHAPES, SIZES
from tests.scenes.pictures import X, circle, picture, square, triangle

DRAWN = {"circle": circle, "square": square, "triangle": triangle}


def seen(image):
    """Number, size, colour and shape of the largest blob; None if unclear."""
    found = look(image[None])
    indices = found.size[0, 0], found.colour[0, 0], found.shape[0, 0]
    words = zip((SIZES, COLOURS, SHAPES), indices, strict=True)
    return int(found.number), *(w[i] if i >= 0 else None for w, i in words)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_each_kind_is_seen_wherever_it_lies(size, shape):
    for colour in COLOURS:
        for x, y in [(4, 4), (8.5, 8.5), (9.3, 5.71), (5.02, 11.94)]:
            drawn = picture((DRAWN[shape](HALF[size], x, y), colour))
            assert seen(drawn) == (1, size, colour, shape)


def test_centres_are_those_of_mass():
    both = picture(
        (circle(2.1, 4.3, 5.6), "red"), (triangle(3.2, 11.4, 9.7), "blue")
    )
    centre = look(both[None]).centre[0]  # the larger blob first
    low = 9.7 + 3.2 / 3
    torch.testing.assert_close(
        centre, torch.tensor([[11.4, low], [4.3, 5.6]]), atol=0.1, rtol=0
    )


def test_blobs_touch_at_sides_and_not_at_corners():
    mask = torch.zeros(2, SIDE, SIDE, dtype=torch.bool)
    mask[0, 2, 2:5] = mask[0, 3, 4] = mask[0, 4, 5] = True
    mask[1] = True
    mask[1, :, 7] = False
    found = looking.labels(mask)
    first, corner, empty = 2 * SIDE + 2, 4 * SIDE + 5, looking.NOTHING
    assert found[0, 2, 2:5].tolist() == [first] * 3
    assert found[0, 3, 4] == first and found[0, 4, 5] == corner
    assert found[0].unique().tolist() == [first, corner, empty]
    assert found[1].unique().tolist() == [0, 8, empty]


def test_a_snake_through_the_whole_picture_is_one_blob():
    mask = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    mask[:, ::2] = True
    mask[:, 1::4, -1] = mask[:, 3::4, 0] = True
    assert looking.labels(mask).unique().tolist() == [0, looking.NOTHING]


def test_specks_do_not_count_and_a_third_thing_does():
    two = [(circle(2.1, 3, 3), "red"), (square(3.2, 11, 11), "blue")]
    assert look(picture(*two)[None]).number == 2
    speck = picture(*two)
    speck[:, 3, 12] = speck[:, 3, 13] = torch.tensor(PALETTE["yellow"])
    assert look(speck[None]).number == 2
    third = picture(*two, (triangle(2.1, 12, 3), "green"))
    assert look(third[None]).number == 3


HALVES = torch.where(X < 8.2, 1.0, 0.0)
WRONG_SHAPES = {
    "a tiny circle": circle(1.2),
    "a huge circle": circle(4.5),
    "a triangle upside down": triangle(3.2, turns=2),
    "a small one upside down": triangle(2.1, turns=2),
    "a triangle that lies": triangle(3.2, turns=1),
    "a ring": circle(3.2) - circle(1.6),
    "half a circle": circle(3.2) * HALVES,
    "two circles that overlap": torch.maximum(circle(2.1), circle(2.1, 10.5)),
    "two squares that touch": torch.maximum(square(2.1, 6), square(2.1, 9.9)),
    "a full picture": torch.ones(SIDE, SIDE),
    "a faint circle": 0.54 * circle(3.2),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_no_size_and_no_shape_is_said_of(name):
    found = seen(picture((WRONG_SHAPES[name], "red")))
    assert found == (1, None, "red", None)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_thing_that_grows_is_another_one_only_after_silence(shape):
    halves = torch.arange(1.0, 3.8, 0.005)
    said = [seen(picture((DRAWN[shape](h), "red")))[1::2] for h in halves]
    runs = [told for told, _ in itertools.groupby(said)]
    assert {size for size, s in runs if s == shape} == {"small", "large"}
    assert all((None, None) in pair for pair in itertools.pairwise(runs)), runs


def test_a_circle_between_the_sizes_is_taken_for_a_small_square():
    # Of all six that is the nearest: a known fault, and the page says so.
    for half in (2.4, 2.5, 2.6):
        found = seen(picture((circle(half), "red")))
        assert found == (1, "small", "red", "square")


@pytest.mark.parametrize(
    "colour",
    [
        (0.6, 0.1, 0.8),  # purple
        (1.0, 1.0, 1.0),
        (0.5, 0.5, 0.5),
        (0.2, 0.9, 0.9),  # cyan
        (0.95, 0.55, 0.2),  # orange, between red and yellow
        (1.0, 0.4, 0.6),  # pink
        (0.6, 0.85, 0.3),  # between yellow and green
    ],
)
def test_a_colour_outside_the_palette_is_none(colour):
    assert seen(picture((circle(3.2), colour))) == (1, "large", None, "circle")


@pytest.mark.parametrize("other", ["blue", "green"])
def test_a_thing_of_two_colours_has_none(other):
    # Red and green have the mean of a dark yellow.
    left, right = circle(3.2) * HALVES, circle(3.2) * (1 - HALVES)
    found = seen(picture((left, "red"), (right, other)))
    assert found[0] == 1 and found[2] is None


def test_pixels_of_another_blob_are_no_edge():
    blobs = torch.zeros(1, 2, SIDE, SIDE, dtype=torch.bool)
    blobs[0, 0, 4:7, 4:7] = blobs[0, 1, 7:9, 7:9] = True
    strength = torch.ones(1, len(COLOURS), SIDE, SIDE)
    own = looking.own_strength(strength, blobs, torch.tensor([[0, 1]]))
    assert own[0, 0].sum() == 5 * 5 - 1  # a ring around 3 × 3, less a corner
    assert own[0, 1].sum() == 4 * 4 - 1


def test_a_shape_between_two_shapes_has_none():
    drawn = picture((circle(3.2), "red"))
    boxy = picture((square(3.2), "red"))
    said = {seen(drawn.lerp(boxy, t))[3] for t in torch.linspace(0, 1, 101)}
    assert said == {"circle", None, "square"}


@pytest.mark.parametrize(
    "image",
    [
        torch.zeros(3, SIDE, SIDE),
        picture(),
        picture((0.45 * circle(3.2), "red")),  # a ghost
        picture((circle(3.2), (0.0, 0.0, 0.0))),
        torch.full((3, SIDE, SIDE), -1.0),
    ],
)
def test_there_is_nothing_in_a_picture_without_strong_pixels(image):
    assert seen(image) == (0, None, None, None)


def test_values_outside_0_and_1_count_as_the_border():
    image = picture((circle(2.1), (0.95, 0.0, 0.0)))
    over = image.clone()
    over[0] = torch.where(over[0] > 0.9, 1.4, over[0])
    over[1:] -= 0.3
    near = over.clamp(0, 1)
    for one, other in zip(
        vars(look(over[None])).values(),
        vars(look(near[None])).values(),
        strict=True,
    ):
        assert torch.equal(one, other)
    assert look(image[None]).number == 1
    drawn = picture((circle(2.1), "red"))
    drawn[2, 8, 8] = 30.0
    assert seen(drawn)[2] == "red"


def test_any_float_and_no_gradient_and_no_picture_will_do():
    image = picture((circle(2.1), "red"))[None]
    for same in (image.double(), image.half(), image.requires_grad_()):
        found = look(same)
        assert found.colour[0, 0] == 0 and not found.error.requires_grad
    assert look(image[:0]).number.shape == (0,)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(1, 1, 16, 16), "got shape .1, 1, 16, 16., expected .bat"),
        (torch.zeros(2, 3, 32, 32), "got shape .2, 3, 32, 32."),
        (torch.full((1, 3, 16, 16), torch.nan), "got numbers that are not"),
        (torch.full((1, 3, 16, 16), torch.inf), "got numbers that are not"),
    ],
)
def test_what_is_no_picture_is_refused(images, said):
    with pytest.raises(ValueError, match=f"^images: {said}"):
        look(images)


def test_the_background_is_no_colour_of_the_palette():
    assert looking.rays().norm(dim=1).min() > 0.5
    apart = torch.cdist(looking.rays(), looking.rays())
    assert (apart + 9 * torch.eye(4)).min() > 2 * looking.HUE
    assert len(BACKGROUND) == 3
