"""Two networks, one after the other: where noise is taken away, and why there.

The picture is drawn while the page is built, by the function that training
draws with; there is nothing to record.
"""

import math

from llmnotes._site.figures import pixels, signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, MLP, QUERY, STREAM

CODE = "diffusion.latent_diffusion.autoencoder"
CAPTION = "a small red circle left of a large blue square"
SEED = 4
PLACES, CHANNELS = 4, 8  # rows and columns of latents, numbers at each
CELL, SHIFT = 11.5, 3  # px of a latent, and from one sheet to the next
PHOTO, CODER, SHEETS = 88, 58, 67  # px, how wide each stage is
WORD = 58  # px from one word to the next
PIXELS = "16 × 16 × 3\n768 numbers"
LATENTS = "4 × 4 × 8\n128 numbers"


def stages(page) -> Drawing:
    """From a picture to few numbers, through diffusion, and back."""
    wide, narrow = Pen(680, 262), Pen(343, 538)
    _wide(wide, page, _picture())
    _narrow(narrow, page, _picture())
    return Drawing(wide, narrow)


def _wide(pen, page, image) -> None:
    """All stages in a row, the caption below."""
    _photo(pen, 12, 80, image)
    pen.arrow(102, 80, 114, 80)
    _encoder(pen, page, 116, 80)
    pen.arrow(176, 80, 188, 80)
    _latents(pen, 190, 80)
    _noise(pen, 279, 80, 258, 300, 0)
    _transformer(pen, page, 302, 50, 104, 60)
    pen.arrow(406, 80, 422, 80)
    _latents(pen, 424, 80)
    pen.arrow(493, 80, 505, 80)
    _decoder(pen, page, 507, 80, 1)
    pen.arrow(567, 80, 579, 80)
    _photo(pen, 581, 80, image)
    _words(pen, page, 212, 194, 5)
    pen.arrow(354, 174, 354, 112, KEY)


def _narrow(pen, page, image) -> None:
    """There in one row, back in another, the caption between them."""
    _photo(pen, 2, 62, image)
    pen.arrow(92, 62, 106, 62)
    _encoder(pen, page, 108, 62)
    pen.arrow(168, 62, 182, 62)
    _latents(pen, 184, 62)
    _noise(pen, 217, 172, 150, 202, math.pi / 2)
    _transformer(pen, page, 160, 204, 116, 60)
    pen.arrow(217, 264, 217, 392)
    _words(pen, page, 2, 222, 2)
    pen.arrow(120, 234, 158, 234, KEY)
    _latents(pen, 184, 438)
    pen.arrow(182, 438, 168, 438)
    _decoder(pen, page, 166, 438, -1)
    pen.arrow(106, 438, 92, 438)
    _photo(pen, 2, 438, image)


def _picture():
    """What the caption says, red, green and blue from 0 to 1."""
    import torch

    from llmnotes import scenes

    draw = torch.Generator().manual_seed(SEED)
    return scenes.draw(scenes.parse(CAPTION), draw).numpy()


def _photo(pen, x, middle, image) -> None:
    """A picture, and how many numbers it is."""
    pixels.put(pen, x, middle - PHOTO / 2, PHOTO, image)
    pen.text(x + PHOTO / 2, middle + 64, PIXELS, "small")


def _latents(pen, x, middle) -> None:
    """Sheets of latents, one for each channel, and how many they are."""
    top = middle - SHEETS / 2 + SHIFT * (CHANNELS - 1)
    for i in reversed(range(CHANNELS)):
        at = x + SHIFT * i, top - SHIFT * i
        sheet = signs.cells if i else signs.ruled
        sheet(pen, *at, PLACES, PLACES, CELL, f"{MEMORY} tint")
    pen.text(x + SHEETS / 2, middle + 64, LATENTS, "small")


def _encoder(pen, page, x, middle) -> None:
    """It gets narrower."""
    with signs.linked(pen, page, f"{CODE}:Encoder"):
        _funnel(pen, x, x + CODER, middle)
        pen.text(x + CODER / 2, middle, "encoder", "small")


def _decoder(pen, page, x, middle, way) -> None:
    """It gets wider, to the right or to the left."""
    with signs.linked(pen, page, f"{CODE}:Decoder"):
        _funnel(pen, x + way * CODER, x, middle)
        pen.text(x + way * CODER / 2, middle, "decoder", "small")


def _funnel(pen, open, shut, middle) -> None:
    """Wide at the side of pixels, narrow at that of latents."""
    much, little = PHOTO / 2, SHEETS / 2 - 8
    pen.path(
        f"M{open:g} {middle - much:g}L{shut:g} {middle - little:g}"
        f"V{middle + little:g}L{open:g} {middle + much:g}Z",
        f"{QUERY} tint",
    )


def _noise(pen, x, y, first, last, angle) -> None:
    """Noise is added between the latents and what takes it away."""
    across, down = math.cos(angle) > 0.5, math.sin(angle) > 0.5
    begin, end = ((first, y), (last, y)) if across else ((x, first), (x, last))
    pen.line(*begin, *end)
    pen.head(*end, angle)
    pen.dot(x, y, 9, "")
    signs.plus(pen, x, y, STREAM)
    if down:
        pen.arrow(x + 44, y, x + 10, y)
        pen.text(x + 50, y, "noise", "small", "start")
    else:
        pen.arrow(x, y - 36, x, y - 10)
        pen.text(x, y - 46, "noise", "small")


def _transformer(pen, page, x, y, width, height) -> None:
    """What takes noise away, as often as there are steps."""
    with signs.linked(pen, page, "diffusion.glide.model:DiT"):
        words = "transformer\nof 16 tokens,\nmany steps"
        pen.box(x, y, width, height, words, f"{MLP} tint small")


def _words(pen, page, x, y, across) -> None:
    """The words of the caption, `across` in a row."""
    with signs.linked(pen, page, "diffusion.glide.tower:Tower"):
        pen.text(x, y - 12, "caption", "small go", "start")
    for i, word in enumerate(CAPTION.split()):
        at = x + (i % across) * WORD, y + (i // across) * 30
        pen.box(*at, WORD - 6, 24, word, f"{KEY} tint small")
