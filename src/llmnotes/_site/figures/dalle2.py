"""A caption becomes an embedding, another one, and a picture.

Both pictures are drawn while the page is built, by the function that
training draws them with; there is nothing to record.
"""

from llmnotes._site.figures import pixels, signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, MEMORY, MLP, QUERY

TOWERS, CODE = "diffusion.clip.towers", "diffusion.dalle2"
CAPTION = "a small red circle left of a large blue square"
SAID = "a small red circle\nleft of a\nlarge blue square"
SEEDS = 3, 8  # of the real picture and of the one that is drawn
CELLS, CELL = 6, 12  # of an embedding, and px of each
TALL = CELLS * CELL
SIDE = 72  # px of a picture
FROZEN = "soft dashed"


def unclip(page) -> Drawing:
    """CLIP's two towers above; prior and decoder below."""
    wide, narrow = Pen(680, 338), Pen(343, 506)
    real, drawn, noise = _pictures()
    _wide_clip(wide, page, real)
    _wide_steps(wide, page, drawn, noise)
    _narrow_clip(narrow, page, real)
    _narrow_steps(narrow, page, drawn, noise)
    return Drawing(wide, narrow)


def _pictures():
    """Two pictures of the caption and some noise, from 0 to 1."""
    import torch  # here: it takes long

    from llmnotes import scenes

    scene = scenes.parse(CAPTION)
    draws = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    real, drawn = (scenes.draw(scene, draw).numpy() for draw in draws)
    noise = torch.randn(drawn.shape, generator=draws[0])
    return real, drawn, (noise / 4 + 0.5).clamp(0, 1).numpy()


def _wide_clip(pen, page, real) -> None:
    """A caption from the left, a picture from the right."""
    pen.box(124, 8, 464, 128, "", FROZEN)
    pen.text(136, 24, "CLIP, frozen", "small bold", "start")
    pen.text(56, 78, SAID, "small")
    pen.arrow(108, 78, 136, 78)
    _tower(pen, page, 136, 56, 96, "text tower", "TextModel")
    pen.arrow(232, 78, 258, 78)
    _embedding(pen, page, 258, 42, "z_{t}", KEY)
    pen.text(353, 78, "near each other,\nnot equal", "small")
    _embedding(pen, page, 436, 42, "z_{i}", QUERY)
    pen.arrow(476, 78, 448, 78)
    _tower(pen, page, 476, 56, 100, "image tower", "VisionModel")
    pen.arrow(604, 78, 576, 78)
    pixels.put(pen, 604, 42, SIDE, real)


def _wide_steps(pen, page, drawn, noise) -> None:
    """The same embedding, and on to a picture."""
    pen.elbow([(264, 114), (264, 220), (304, 220)], KEY)
    _prior(pen, page, 304, 198, 98)
    pen.text(353, 286, "noise", "small")
    pen.arrow(353, 276, 353, 242)
    pen.arrow(402, 220, 436, 220)
    _embedding(pen, page, 436, 184, "", QUERY)
    pen.arrow(442, 114, 442, 184, "thin dashed")
    pen.text(452, 160, "teaches", "small", "start")
    pen.arrow(448, 220, 476, 220)
    _decoder(pen, page, 476, 198, 100)
    pixels.put(pen, 500, 276, 52, noise)
    pen.arrow(526, 276, 526, 242)
    pen.text(562, 302, "x_{T}", "small", "start")
    pen.arrow(576, 220, 604, 220)
    pixels.put(pen, 604, 184, SIDE, drawn)


def _narrow_clip(pen, page, real) -> None:
    """Both towers one above the other, the caption's nearer to the prior."""
    pen.box(110, 8, 182, 206, "", FROZEN)
    pen.text(118, 22, "CLIP, frozen", "small bold", "start")
    pixels.put(pen, 16, 40, SIDE, real)
    pen.arrow(88, 76, 118, 76)
    _tower(pen, page, 118, 54, 98, "image tower", "VisionModel")
    pen.arrow(216, 76, 250, 76)
    _embedding(pen, page, 250, 40, "z_{i}", QUERY)
    pen.text(53, 172, SAID, "small")
    pen.arrow(106, 172, 118, 172)
    _tower(pen, page, 118, 150, 98, "text tower", "TextModel")
    pen.arrow(216, 172, 250, 172)
    _embedding(pen, page, 250, 136, "z_{t}", KEY)
    pen.text(168, 125, "near each other,\nnot equal", "small")


def _narrow_steps(pen, page, drawn, noise) -> None:
    """From the top down."""
    pen.elbow([(256, 208), (256, 258), (216, 258)], KEY)
    _prior(pen, page, 118, 236, 98)
    pen.text(52, 258, "noise", "small")
    pen.arrow(76, 258, 118, 258)
    pen.arrow(167, 280, 167, 306)
    _embedding(pen, page, 161, 306, "", QUERY)
    way = [(262, 76), (318, 76), (318, 342), (173, 342)]
    pen.elbow(way, "thin dashed")
    pen.text(246, 330, "teaches", "small")
    pen.arrow(167, 378, 167, 404)
    _decoder(pen, page, 118, 404, 98)
    pixels.put(pen, 26, 400, 52, noise)
    pen.text(52, 466, "x_{T}", "small")
    pen.arrow(78, 426, 118, 426)
    pen.arrow(216, 426, 250, 426)
    pixels.put(pen, 250, 390, SIDE, drawn)


def _tower(pen, page, x, y, width, words, symbol) -> None:
    """A half of CLIP, which nobody trains here."""
    with signs.linked(pen, page, f"{TOWERS}:{symbol}"):
        pen.box(x, y, width, 44, words, "small")


def _prior(pen, page, x, y, width) -> None:
    """What decides."""
    with signs.linked(pen, page, f"{CODE}.diffusion_prior:DiffusionPrior"):
        pen.box(x, y, width, 44, "prior", f"{MEMORY} tint")


def _decoder(pen, page, x, y, width) -> None:
    """What draws."""
    with signs.linked(pen, page, f"{CODE}.decoding:decoder"):
        pen.box(x, y, width, 44, "decoder", f"{MLP} tint")


def _embedding(pen, page, x, y, words, colour) -> None:
    """A column of numbers, its name above."""
    with signs.linked(pen, page, f"{CODE}.embeddings:scaled"):
        signs.ruled(pen, x, y, CELLS, 1, CELL, f"{colour} tint")
    if words:
        pen.text(x + CELL / 2, y - 14, words)
