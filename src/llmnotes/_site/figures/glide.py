"""The patch transformer: squares of noise that look at words.

The pictures are drawn while the page is built, by the functions that
training draws them with; there is nothing to record.
"""

import math

from llmnotes._site.figures import pixels, signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MLP, QUERY, STREAM

CODE = "diffusion.glide"
CAPTION = "a small red circle left of a large blue square"
SEED, SIGMA = 4, 0.6  # of the noise, and its part of the noisy picture
SIDE, PATCH, DEPTH = 16, 4, 5
WORD = 58  # px from one word to the next
RAIL = f"{STREAM} rail"
PARTS = (
    ("layers:SelfAttention", "patches look at patches", QUERY),
    ("layers:CrossAttention", "patches look at words", KEY),
    ("model:Block.forward", "each patch by itself: MLP", MLP),
)


def network(page) -> Drawing:
    """From a noisy picture to a guess, with the caption beside."""
    wide, narrow = Pen(680, 366), Pen(343, 556)
    _wide(wide, page, *_pictures())
    _narrow(narrow, page, *_pictures())
    return Drawing(wide, narrow)


def _wide(pen, page, noisy, guess) -> None:
    """Picture, block and caption in three columns."""
    pen.curve([(150, 40), (296, 40), (296, 336), (508, 336)], RAIL)
    pen.head(514, 336, 0, STREAM)
    pen.text(226, 24, "16 tokens", "small")
    _squares(pen, page, 2, 26, 29, 5, noisy)
    _block(pen, page, 196, 62, 200)
    ways = [[(120, 240), (164, 240), (164, y)] for y in (83, 259)]
    _about(pen, page, 2, 210, ways, 194)
    _caption(pen, page, 440, 26, 4)
    pen.elbow([(553, 124), (553, 171), (402, 171)], KEY)
    pixels.put(pen, 522, 208, 132, guess)
    pen.text(588, 354, "guess of the picture", "small")


def _narrow(pen, page, noisy, guess) -> None:
    """The same from the top down."""
    pen.curve([(108, 148), (229, 148), (229, 472), (134, 472)], RAIL)
    pen.head(126, 472, math.pi, STREAM)
    pen.text(164, 132, "16 tokens", "small")
    _caption(pen, page, 2, 26, 5)
    pen.elbow([(292, 50), (336, 50), (336, 281), (326, 281)], KEY)
    _squares(pen, page, 2, 120, 22, 3, noisy)
    _block(pen, page, 134, 172, 190)
    up = [(60, 292), (60, 262), (120, 262), (120, 193)]
    _about(pen, page, 2, 292, [up, [(60, 352), (60, 369)]], 132)
    pixels.put(pen, 2, 406, 116, guess)
    pen.text(2, 538, "guess of the picture", "small", "start")


def _pictures():
    """A noisy picture and the one that is under the noise, from 0 to 1."""
    import torch

    from llmnotes import scenes

    draw = torch.Generator().manual_seed(SEED)
    image = scenes.draw(scenes.parse(CAPTION), draw)
    noise = torch.randn(image.shape, generator=draw)
    alpha = math.sqrt(1 - SIGMA**2)
    noisy = alpha * (2 * image - 1) + SIGMA * noise
    return (noisy / 2 + 0.5).clamp(0, 1).numpy(), image.numpy()


def _squares(pen, page, x, y, side, gap, image) -> None:
    """A picture cut into patches, each `side` wide."""
    with signs.linked(pen, page, f"{CODE}.patches:patchify"):
        pen.text(x, y - 12, "noisy picture, cut", "small go", "start")
    for row in range(SIDE // PATCH):
        for column in range(SIDE // PATCH):
            down, right = row * PATCH, column * PATCH
            part = image[:, down : down + PATCH, right : right + PATCH]
            at = x + column * (side + gap), y + row * (side + gap)
            pixels.put(pen, *at, side, part)


def _block(pen, page, x, y, width) -> None:
    """What happens to the tokens, several times."""
    for i, (symbol, words, colour) in enumerate(PARTS):
        top = y + 88 * i
        with signs.linked(pen, page, f"{CODE}.{symbol}"):
            pen.box(x, top, width, 42, words, f"{colour} tint small")
        signs.plus(pen, x + width / 2, top + 62, STREAM)
    with signs.linked(pen, page, f"{CODE}.model:Block"):
        pen.text(x + width, y - 10, f"× {DEPTH}", "bold go", "end")


def _about(pen, page, x, y, ways, edge) -> None:
    """Time and the whole caption, and the way to the boxes that listen."""
    for way in ways:
        pen.elbow([*way, (edge, way[-1][1])], "soft")
    with signs.linked(pen, page, f"{CODE}.model:DiT.about"):
        pen.box(x, y, 116, 60, "", "soft tint")
        pen.text(x + 58, y + 19, "time, caption:", "small")
        pen.text(x + 58, y + 41, "shift, scale, gate", "small")


def _caption(pen, page, x, y, across) -> None:
    """The words, `across` in a row."""
    with signs.linked(pen, page, f"{CODE}.encoders:Captions"):
        pen.text(x, y - 12, "caption, read by an encoder", "small go", "start")
    for i, word in enumerate(CAPTION.split()):
        at = x + (i % across) * WORD, y + (i // across) * 30
        pen.box(*at, WORD - 6, 24, word, f"{KEY} tint small")
