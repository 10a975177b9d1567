"""Drawings: areas by hand, gaps, and one generator that decides all."""

import math

import pytest
import torch

from llmnotes.scenes import drawing
from llmnotes.scenes.drawing import (
    BACKGROUND,
    FREE,
    GAP,
    HALF,
    LEAN,
    MARGIN,
    PALETTE,
    SIDE,
    coverage,
    draw,
    draw_all,
)
from llmnotes.scenes.scene import SHAPES, Scene, Thing, scenes, turned

RED = Thing("small", "red", "circle")
BLUE = Thing("large", "blue", "square")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_by_hand_a_square_covers_its_inside_and_half_of_its_edge():
    # Half a side of 1.8 around the middle of the pixel (8, 8).
    cover = coverage(
        torch.tensor(1), torch.tensor(1.8), torch.tensor([8.5, 8.5])
    )
    row = cover[8, 5:12].tolist()
    assert row == pytest.approx([0, 0.3, 1, 1, 1, 0.3, 0], abs=1e-5)
    torch.testing.assert_close(cover, cover.T)


@pytest.mark.parametrize("half", [2.1, 3.2, 5.7])
@pytest.mark.parametrize(
    ("shape", "area"), [("circle", math.pi), ("square", 4), ("triangle", 2)]
)
def test_coverage_adds_up_to_the_area_of_the_shape(shape, area, half):
    kind = torch.tensor(SHAPES.index(shape)).expand(50)
    centre = 7.5 + torch.rand(50, 2, generator=seeded(), dtype=torch.float64)
    halves = torch.full((50,), half, dtype=torch.float64)
    cover = coverage(kind, halves, centre)
    covered = cover.sum((1, 2)).mean().item()
    # A corner's coverage by distance is too large by a share of a pixel.
    assert covered == pytest.approx(area * half**2, abs=0.6)
    middles = torch.arange(SIDE) + 0.5
    x = (cover * middles).sum((1, 2)) / cover.sum((1, 2))
    y = (cover * middles[:, None]).sum((1, 2)) / cover.sum((1, 2))
    lower = half / 3 if shape == "triangle" else 0
    torch.testing.assert_close(x, centre[:, 0], atol=0.05, rtol=0)
    torch.testing.assert_close(y, centre[:, 1] + lower, atol=0.15, rtol=0)


def test_boxes_keep_the_margin_the_gap_and_the_lean():
    halves = torch.tensor([[2.1, 2.1], [2.1, 3.2], [3.2, 2.1], [3.2, 3.2]])
    halves = halves.repeat_interleave(500, 0)
    across = torch.arange(2000) % 2
    uniforms = torch.rand(2000, 2, 2, generator=seeded(1))
    # The corners of what chance may give, too.
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4)
    for start in range(0, 2000, 500):
        uniforms[start : start + 32] = corners.repeat_interleave(2, 0).view(
            -1, 2, 2
        )
    found = drawing.centres(halves, across, uniforms)
    low = (found - halves[..., None]).amin()
    high = (found + halves[..., None]).amax()
    assert low >= MARGIN - 1e-5 and high <= SIDE - MARGIN + 1e-5
    apart = found[:, 1] - found[:, 0]
    along = torch.where(across == 1, apart[:, 0], apart[:, 1])
    beside = torch.where(across == 1, apart[:, 1], apart[:, 0])
    assert (along >= halves.sum(1) + GAP - 1e-5).all()
    assert (beside.abs() <= LEAN * along + 1e-5).all()


def test_things_lie_as_the_relation_says_and_have_their_colours():
    for relation, axis, sign in [
        ("left of", 1, -1),
        ("right of", 1, 1),
        ("above", 0, -1),
        ("below", 0, 1),
    ]:
        scene = Scene((RED, BLUE), relation)
        image = draw(scene, seeded(3))
        red, blue = (
            (image - torch.tensor(PALETTE[colour])[:, None, None])
            .abs()
            .amax(0)
            .lt(1e-5)
            .nonzero()
            .float()
            .mean(0)
            for colour in ("red", "blue")
        )
        assert (red - blue)[axis].sign() == sign


def test_a_picture_depends_on_its_meaning_and_its_generator_alone():
    scene = Scene((RED, BLUE), "below")
    image = draw(scene, seeded(4))
    assert image.shape == (3, SIDE, SIDE) and image.dtype == torch.float32
    assert torch.equal(draw(turned(scene), seeded(4)), image)
    assert not torch.equal(draw(scene, seeded(5)), image)
    # Each scene takes the same numbers, so the others do not move it.
    one, two = Scene((RED,)), Scene((BLUE,))
    pair = draw_all([scene, one, scene], seeded(4))
    assert torch.equal(pair[0], image)
    assert torch.equal(draw_all([two, one, two], seeded(4))[1], pair[1])


def test_everything_lies_between_the_background_and_the_palette():
    some = [*scenes(1, None), *scenes(2, None)[::17]]
    images = draw_all(some, seeded(6))
    ground = torch.tensor(BACKGROUND)
    colours = torch.tensor(list(PALETTE.values()))
    assert (images.amin((0, 2, 3)) == ground).all()
    torch.testing.assert_close(images.amax((0, 2, 3)), colours.amax(0))
    assert draw_all([], seeded()).shape == (0, 3, SIDE, SIDE)


def test_places_are_drawn_from_the_middle_of_the_room():
    thing = Thing("large", "red", "square")
    places = torch.tensor(
        [read_centre(draw(Scene((thing,)), seeded(i))) for i in range(300)]
    )
    room = SIDE - 2 * MARGIN - 2 * HALF["large"]
    reach = FREE * room / 2
    away = places - SIDE / 2
    assert away.abs().max() < reach + 0.05
    assert away.abs().amax(0).min() > 0.9 * reach


def read_centre(image):
    """Where the middle of the only thing lies, as (x, y)."""
    cover = (image - torch.tensor(BACKGROUND)[:, None, None]).sum(0)
    middles = torch.arange(SIDE) + 0.5
    x, y = cover.sum(0) @ middles, cover.sum(1) @ middles
    return [x / cover.sum(), y / cover.sum()]


def test_two_large_things_fit_with_their_gap():
    assert 4 * HALF["large"] + GAP + 2 * MARGIN < SIDE
