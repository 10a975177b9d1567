"""A group of answers and what each is worth; and what PPO's clip leaves."""

from llmnotes._site.figures import signs
from llmnotes._site.figures.drawn import Drawing
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen
from llmnotes._site.figures.signs import KEY, QUERY, STREAM

CODE = "adaptation.rlhf"
GROUP = "adaptation/rlhf:group"
ROW = 30  # px from one answer to the next
CLIP, MOST = 0.2, 1.6  # ε, and the largest ratio that is drawn


def group(page) -> Drawing:
    """One problem, its answers, their rewards, their advantages."""
    answers = list(rows(page, GROUP))
    wide = Pen(680, 56 + ROW * len(answers))
    narrow = Pen(343, 100 + ROW * len(answers))
    middle = 44 + ROW * len(answers) / 2
    _problem(wide, answers, 2, middle)
    tops = [48 + ROW * (i + 0.5) for i in range(len(answers))]
    for y in tops:
        wide.curve([(98, middle), (150, y), (186, y)], "thin")
    _answers(wide, page, answers, 0, (222, 320, 500), 100)
    _problem(narrow, answers, 2, 22)
    narrow.arrow(50, 40, 50, 62)
    _answers(narrow, page, answers, 44, (50, 124, 236), 58)
    return Drawing(wide, narrow, reads=(GROUP,))


def _problem(pen, answers, x, y) -> None:
    """What all answers answer."""
    text = answers[0]["problem"]
    pen.box(x, y - 17, 96, 34, text, f"{STREAM} tint mono")


def _answers(pen, page, answers, top, columns, reach) -> None:
    """A row for each: the answer, the reward, a bar for the advantage."""
    first, second, zero = columns
    heads = "answer", "reward", "advantage"
    for x, words in zip(columns, heads, strict=True):
        pen.text(x, top + 28, words, "small bold")
    bottom = top + 48 + ROW * len(answers)
    pen.line(zero, top + 42, zero, bottom, "thin soft")
    most = max(abs(answer["advantage"]) for answer in answers)
    with signs.linked(pen, page, f"{CODE}.advantages:group_advantages"):
        for i, answer in enumerate(answers):
            y = top + 48 + ROW * (i + 0.5)
            pen.box(first - 34, y - 12, 68, 24, answer["answer"], "mono")
            right = answer["reward"] > 0
            pen.text(second, y, "1  right" if right else "0", "")
            _bar(pen, zero, y, answer["advantage"], reach / most)


def _bar(pen, zero, y, value, scale) -> None:
    """To the right what is to become likelier, to the left what less."""
    width = abs(value) * scale
    x = zero if value > 0 else zero - width
    kind = f"{QUERY} solid" if value > 0 else f"{KEY} tint"
    pen.put("rect", kind, x=x, y=y - 9, width=width, height=18)
    words = f"{value:+.2f}".replace("-", "−")
    end, anchor = (6, "start") if value > 0 else (-6, "end")
    at = zero + value * scale + end
    pen.text(at, y, words, "small", anchor)


def clip(page) -> Drawing:
    """What a token earns, by how much likelier it has become."""
    wide, narrow = Pen(680, 238), Pen(343, 470)
    _panel(wide, page, 4, 0, 1)
    _panel(wide, page, 352, 0, -1)
    _panel(narrow, page, 6, 0, 1)
    _panel(narrow, page, 6, 236, -1)
    return Drawing(wide, narrow)


def _panel(pen, page, x, y, sign) -> None:
    """The objective of one token with advantage +1 or -1."""
    good = sign > 0
    words = "A > 0: a good token" if good else "A < 0: a bad token"
    pen.text(x, y + 12, words, "bold", "start")
    left, width, low, high = x + 34, 270, y + 204, 140
    base = low if good else low - high  # where nothing is earned

    def at(ratio, earned):
        return left + ratio / MOST * width, base - earned / MOST * high

    pen.arrow(left, base, left + width + 14, base, "thin")
    pen.line(left, low, left, low - high - 8, "thin")
    ends = (0, 1 + CLIP, MOST) if good else (0, 1 - CLIP, MOST)
    with signs.linked(pen, page, f"{CODE}.losses:clipped"):
        bend = [(r, sign * _kept(r, sign)) for r in ends]
        pen.curve([at(*point) for point in bend], f"{QUERY} thick")
        free = (ends[1], MOST) if good else (0, ends[1])
        pen.curve([at(r, sign * r) for r in free], f"{QUERY} dashed")
    for ratio, name in ((1 - CLIP, "1 − ε"), (1, "1"), (1 + CLIP, "1 + ε")):
        px = at(ratio, 0)[0]
        pen.line(px, low, px, low - high, "thin soft dashed")
        side = {"1": "middle", "1 − ε": "end", "1 + ε": "start"}[name]
        pen.text(px, low + 14 if good else base - 12, name, "small", side)
    pen.text(left + width + 12, base + (14 if good else -12), "ρ", "italic")
    flat = "flat: no pull\nany more"
    spot = at(1.42, 1.02) if good else at(0.36, -1.02)
    pen.text(*spot, flat, "small")


def _kept(ratio, sign) -> float:
    """What is left of a ratio by the smaller of both products."""
    edge = min(max(ratio, 1 - CLIP), 1 + CLIP)
    return min(ratio, edge) if sign > 0 else max(ratio, edge)
