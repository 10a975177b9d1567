"""The data sets of pictures: what they hold, drawn by the package itself.

The shapes are drawn while the page is built, by the functions that training
draws them with; there is nothing to record.
"""

import textwrap

from llmnotes._site.figures import pixels
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

DIGITS = "scenes/scenes:digits_drawn"
SEED, SHOWN = 30, 8
LINE = 16  # px from one line of a caption to the next
SIDE = 16  # pixels of a picture
SIGMAS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)
# What no scene has: its name, and the shape and half width it is made of.
DOUBTS = (
    ("upside down", "triangle", 3.2),
    ("far too large", "circle", 4.6),
    ("half a thing", "circle", 3.2),
    ("two colours", "square", 3.2),
    ("purple", "triangle", 3.2),
    ("half-way to a square", "circle", 3.2),
    ("touching", "circle", 3.2),
    ("on the diagonal", "circle", 2.1),
)
PURPLE = (0.6, 0.1, 0.8)


def digits(page) -> Drawing:
    """The first digit of each class."""
    found = {}
    for row in rows(page, DIGITS):
        greys = [row[name] / 16 for name in "abcdefgh"]
        found.setdefault(row["digit"], []).append(greys)
    wide, narrow = Pen(680, 90), Pen(343, 172)
    for i, (digit, values) in enumerate(found.items()):
        _titled(wide, 2 + 68 * i, 0, 64, values, str(digit))
        x, y = 2 + 69 * (i % 5), 86 * (i // 5)
        _titled(narrow, x, y, 63, values, str(digit))
    return Drawing(wide, narrow, reads=(DIGITS,))


def _titled(pen, x, y, side, values, words) -> None:
    """A picture with a few lines below."""
    pixels.put(pen, x, y, side, values)
    for i, line in enumerate(words.split("\n")):
        at = x + side / 2, y + side + 13 + LINE * i
        pen.text(*at, line, "small")


def shapes(page) -> Drawing:
    """Eight pictures with their captions, as training gets them."""
    from llmnotes import scenes  # here: it imports torch

    both = scenes.batch(SEED, 0, SHOWN - 2)
    ones = scenes.batch(SEED, 1, 2, scenes.scenes(1))
    images = [*ones.images, *both.images]
    told = [textwrap.fill(c, 26) for c in [*ones.captions, *both.captions]]
    wide, narrow = Pen(680, 392), Pen(343, 784)
    for i, (image, words) in enumerate(zip(images, told, strict=True)):
        x, y = 20 + 171 * (i % 4), 198 * (i // 4)
        _titled(wide, x, y, 128, image.numpy(), words)
        x, y = 20 + 175 * (i % 2), 198 * (i // 2)
        _titled(narrow, x, y, 128, image.numpy(), words)
    return Drawing(wide, narrow)


def pairs(page) -> Drawing:
    """Every colour with every shape; three are held out."""
    wide, narrow = Pen(680, 270), Pen(343, 284)
    _pairs(wide, 156, 24, 72, 112, across=True)
    _pairs(narrow, 80, 24, 56, 88, across=False)
    return Drawing(wide, narrow)


def _pairs(pen, left, top, side, step, across) -> None:
    from llmnotes import scenes  # here: it imports torch

    columns, lines = scenes.COLOURS, scenes.SHAPES
    if not across:
        columns, lines = lines, columns
    for i, word in enumerate(columns):
        pen.text(left + step * i + side / 2, top - 12, word, "small")
    for j, word in enumerate(lines):
        y = top + (side + 10) * j
        pen.text(left - 12, y + side / 2, word, "small", "end")
        for i, other in enumerate(columns):
            colour, shape = (other, word) if across else (word, other)
            x = left + step * i
            if (colour, shape) in scenes.HELD_OUT:
                frame = side + 8, side + 8
                pen.box(x - 4, y - 4, *frame, "", "accent solid", rx=2)
            pixels.put(pen, x, y, side, _thing(colour, shape))


def _cover(shape, half, x=8.0, y=8.0):
    """What a shape covers of each pixel."""
    import torch

    from llmnotes.scenes import SHAPES, drawing

    kind = torch.tensor(SHAPES.index(shape))
    where = torch.tensor([x, y])
    return drawing.coverage(kind, torch.tensor(half), where)


def _painted(*covers):
    """Coverage in colours, one over the other: (cover, colour)."""
    import torch

    from llmnotes.scenes import drawing

    image = torch.tensor(drawing.BACKGROUND)[:, None, None]
    image = image.expand(3, SIDE, SIDE)
    for cover, colour in covers:
        rgb = torch.tensor(drawing.PALETTE.get(colour, colour))
        image = image + (rgb[:, None, None] - image) * cover
    return image


def _thing(colour, shape):
    """A large thing in the middle."""
    return _painted((_cover(shape, 3.2), colour)).numpy()


def doubts(page) -> Drawing:
    """Pictures that the checker does not read, and what is unclear in them."""
    wide, narrow = Pen(680, 340), Pen(343, 680)
    for i, (name, words, image) in enumerate(_doubts()):
        words = f"{name}\n{words}"
        x, y = 30 + 171 * (i % 4), 170 * (i // 4)
        _titled(wide, x, y, 108, image.numpy(), words)
        x, y = 26 + 181 * (i % 2), 170 * (i // 2)
        _titled(narrow, x, y, 108, image.numpy(), words)
    return Drawing(wide, narrow)


def _doubts():
    """What each is called, what the checker says, and the picture."""
    from llmnotes import scenes  # here: it imports torch

    for name, shape, half in DOUBTS:
        image = _doubtful(name, _cover(shape, half))
        if scenes.read(image) is not None:
            raise ValueError(f"{name}: is read, expected a doubt")
        yield name, _unclear(scenes.found(image[None])[0]), image


def _doubtful(name, cover):
    """The picture of a doubt."""
    import torch

    left = (torch.arange(SIDE) < SIDE / 2).float()
    if name == "upside down":
        return _painted((cover.flip(0), "green"))
    if name == "half a thing":
        return _painted((cover * left, "red"))
    if name == "two colours":
        return _painted((cover * left, "red"), (cover * (1 - left), "blue"))
    if name == "half-way to a square":
        return _painted(((cover + _cover("square", 3.2)) / 2, "blue"))
    if name == "touching":
        return _painted(
            (_cover("circle", 3.2, 4.6), "blue"),
            (_cover("square", 3.2, 10.7), "yellow"),
        )
    if name == "on the diagonal":
        return _painted(
            (_cover("circle", 2.1, 4.5, 4.5), "red"),
            (_cover("square", 3.2, 11.0, 11.0), "blue"),
        )
    return _painted((cover, PURPLE if name == "purple" else "green"))


def _unclear(things) -> str:
    """What of a picture has no word."""
    words = [
        word
        for word in ("size", "colour", "shape")
        if any(getattr(thing, word) is None for thing in things)
    ]
    if len(words) == 3:
        return f"{len(things)} thing, unknown"
    return f"no {', no '.join(words)}" if words else "no relation"


def noise(page) -> Drawing:
    """One picture under more and more noise, and what is read in it."""
    import torch

    from llmnotes import scenes  # here: it imports torch

    drawn = scenes.batch(SEED, 2, 1)
    generator = torch.Generator().manual_seed(SEED)
    chance = torch.randn(drawn.images[0].shape, generator=generator)
    wide, narrow = Pen(680, 150), Pen(343, 310)
    for i, sigma in enumerate(SIGMAS):
        image = drawn.images[0] + sigma * chance
        read = scenes.read(image)
        right = read is not None and scenes.same(read, drawn.scenes[0])
        said = "right" if right else "not clear" if read is None else "wrong"
        words = f"σ = {sigma:g}\n{said}"
        _titled(wide, 4 + 114 * i, 0, 104, image.numpy(), words)
        x, y = 2 + 116 * (i % 3), 158 * (i // 3)
        _titled(narrow, x, y, 108, image.numpy(), words)
    return Drawing(wide, narrow)
