"""From noise to one of two pictures, a number each: jagged, bent, straight.

    u      = how far into the noise, 1 to 0; α = cos(πu/2), σ = sin(πu/2)
    guess  = E[x_0 | x] for a mixture of two, exact: nothing is trained here
    bent   = the ODE's path, by rank: on a line nobody overtakes anybody
    jagged = DDPM's, from the same start
    line   = the ODE's, divided by α + σ; pairs = what a flow learns from

All draws come from a seed: each build draws the same.
"""

import math
import random

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.pen import Pen

MEANS, SPREAD = (-1.0, 1.0), 0.16
STARTS = (-1.5, -0.55, 0.14, 0.95)
KINDS = ("c1", "c2", "c3", "c4")
FEW, MANY, PAIRS = 6, 96, 9
SEED, PAIR_SEED = 29, 1
TALLEST = 2.3  # the largest |x| that is drawn
CODE = "diffusion.ddim"


def paths(page) -> Drawing:
    """Three ways through the same noise."""
    wide, narrow = Pen(680, 262), Pen(343, 606)
    panels = (
        ("DDPM: noise at each step", "most_noise", jagged, None),
        ("the ODE, and DDIM in six steps", "DDIM.step", bent, few),
        (
            "the same, divided by α + σ",
            "Rescaled.data",
            straight,
            few_straight,
        ),
    )
    modules = "solvers", "solvers", "flow"
    for i, (words, symbol, way, dots) in enumerate(panels):
        symbol = f"{CODE}.{modules[i]}:{symbol}"
        _panel(
            wide, page, (6 + 228 * i, 4, 212, 216), words, symbol, way, dots
        )
        corner = 24, 4 + 202 * i, 296, 160
        _panel(narrow, page, corner, words, symbol, way, dots)
    return Drawing(wide, narrow)


def _panel(pen, page, place, words, symbol, way, dots) -> None:
    """The paths of every start in one square."""
    left, top, width, height = place
    top += 22
    middle = top + height / 2

    def at(u, x):
        return left + 16 + (1 - u) * (width - 44), middle - (
            x / TALLEST * height / 2
        )

    pen.text(left + width / 2, top - 12, words, "small bold")
    _hills(pen, at, 1.0, -14)
    _hills(pen, at, 0.0, 26)
    with signs.linked(pen, page, symbol):
        for ends in pairs() if way is straight else ():
            pen.curve([at(*end) for end in ends], "soft thin dashed")
        for kind, start in zip(KINDS, STARTS, strict=True):
            pen.curve([at(*point) for point in way(start)], f"{kind} thin")
            for u, x in dots(start) if dots else ():
                pen.dot(*at(u, x), 2.4, kind)
    y = top + height + 8
    pen.text(at(1, 0)[0], y, "noise", "small")
    pen.text(at(0, 0)[0] - 6, y, "picture", "small")


def _hills(pen, at, u, reach) -> None:
    """How likely x is at u, drawn sideways."""
    xs = [TALLEST * (i / 60 - 1) for i in range(121)]
    chances = [density(x, u) for x in xs]
    edge = at(u, 0)[0]
    points = [
        (edge + reach * chance / max(chances), at(u, x)[1])
        for x, chance in zip(xs, chances, strict=True)
    ]
    steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    pen.path(f"M{steps}Z", "c6 tint thin")


def levels(u: float) -> tuple[float, float]:
    """α and σ."""
    return math.cos(math.pi * u / 2), math.sin(math.pi * u / 2)


def width(u: float) -> float:
    """The deviation of either half of the mixture at u."""
    alpha, sigma = levels(u)
    return math.hypot(alpha * SPREAD, sigma)


def density(x: float, u: float) -> float:
    """How likely x is at u, up to a factor."""
    alpha, wide = levels(u)[0], width(u)
    offs = [(x - alpha * mean) / wide for mean in MEANS]
    return sum(math.exp(-(off**2) / 2) for off in offs)


def below(x: float, u: float) -> float:
    """The share of what is noisy as at u that lies below x."""
    alpha, wide = levels(u)[0], width(u)
    offs = [(x - alpha * mean) / wide / math.sqrt(2) for mean in MEANS]
    return sum((1 + math.erf(off)) / 2 for off in offs) / len(MEANS)


def guess(x: float, u: float) -> float:
    """E[x_0 | x], as the best network would say."""
    alpha, wide = levels(u)[0], width(u)
    pull = alpha * SPREAD**2 / wide**2
    offs = [x - alpha * mean for mean in MEANS]
    weights = [math.exp(-((off / wide) ** 2) / 2) for off in offs]
    guesses = [m + pull * off for m, off in zip(MEANS, offs, strict=True)]
    weighed = sum(w * g for w, g in zip(weights, guesses, strict=True))
    return weighed / sum(weights)


def bent(start: float) -> list[tuple[float, float]]:
    """The ODE's path: at each u who has the same rank."""
    rank, found = below(start, 1.0), []
    for i in range(MANY, -1, -1):
        low, high = -6.0, 6.0
        for _ in range(40):
            middle = (low + high) / 2
            if below(middle, i / MANY) > rank:
                high = middle
            else:
                low = middle
        found.append((i / MANY, middle))
    return found


def straight(start: float) -> list[tuple[float, float]]:
    """The same path on the line: x and u in other units."""
    return [_on_line(*point) for point in bent(start)]


def _on_line(u: float, x: float) -> tuple[float, float]:
    alpha, sigma = levels(u)
    return sigma / (alpha + sigma), x / (alpha + sigma)


def pairs() -> list[tuple]:
    """Noise and picture, drawn apart, with a straight line between them."""
    draws = random.Random(PAIR_SEED)
    return [
        (
            (1.0, draws.gauss(0, 1)),
            (0.0, draws.choice(MEANS) + SPREAD * draws.gauss(0, 1)),
        )
        for _ in range(PAIRS)
    ]


def jagged(start: float) -> list[tuple[float, float]]:
    """DDPM's path, one draw at each of many steps."""
    draws = random.Random(f"{SEED} {start}")
    return steps(start, MANY, 1.0, draws)


def few(start: float) -> list[tuple[float, float]]:
    """DDIM's path in few steps."""
    return steps(start, FEW, 0.0, random.Random(SEED))


def few_straight(start: float) -> list[tuple[float, float]]:
    """The same on the line."""
    return [_on_line(*point) for point in few(start)]


def steps(x, count, eta, draws) -> list[tuple[float, float]]:
    """DDIM's step with the exact guess, as in `llmnotes.diffusion.ddim`."""
    found = [(1.0, x)]
    for i in range(count, 0, -1):
        (a, s), (b, r) = levels(i / count), levels((i - 1) / count)
        x0 = guess(x, i / count)
        lost = s**2 - (a / b * r) ** 2
        fresh = eta * r / s * math.sqrt(max(0.0, lost))
        kept = math.sqrt(max(0.0, r**2 - fresh**2))
        x = b * x0 + kept * (x - a * x0) / s
        x += fresh * draws.gauss(0, 1)
        found.append(((i - 1) / count, x))
    return found
