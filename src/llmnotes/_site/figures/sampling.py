"""From chances to a choice: bars that temperature and filters change.

The dashed bars are what the model says; figures.js computes the filled ones
anew, as `next_distribution` does.
"""

from llmnotes._site.figures.drawn import Drawing, Slider
from llmnotes._site.figures.fence import rows
from llmnotes._site.figures.pen import Pen

NEXT = "transformer/gpt_writing:next"
OPENING = 0  # which of the recorded ones
SIGNS = {" ": "␣", "\n": "⏎"}
FLOOR = 186  # y of the bars' foot


def bars(page) -> Drawing:
    """The likeliest characters, before and after the filters."""
    found = list(rows(page, NEXT))
    opening = list(dict.fromkeys(row["opening"] for row in found))[OPENING]
    chances = [
        (row["character"], row["chance"])
        for row in found
        if row["opening"] == opening
    ]
    top = chances[0][1]
    return Drawing(
        wide=_bars(Pen(640, 228), chances[:16], opening),
        narrow=_bars(Pen(339, 228), chances[:9], opening),
        sliders=[
            Slider("temperature", "Temperature", 0, 2, 0.1, 1),
            Slider("top_k", "Top-k", 1, len(chances), 1, len(chances)),
            Slider("top_p", "Top-p", 0.05, 1, 0.05, 1),
            Slider("min_p", "Min-p", 0, 0.5, 0.02, 0),
        ],
        says=(
            f"All {len(chances)} characters can be drawn; the likeliest has "
            f"{top:.0%}."
        ),
        data={"chances": [chance for _, chance in chances]},
        reads=(NEXT,),
    )


def _bars(pen: Pen, chances, opening: str) -> Pen:
    who, _, said = opening.partition("\n")
    pen.text(0, 12, f"{who} {said}…", "mono", anchor="start")
    apart = pen.width / len(chances)
    tall = 142
    with pen.group("chances", data_tall=tall, data_floor=FLOOR):
        for i, (character, chance) in enumerate(chances):
            x = apart * (i + 0.5)
            wide = min(apart - 8, 30)
            place = {"x": x - wide / 2, "width": wide}
            high = {"y": FLOOR - tall * chance, "height": tall * chance}
            pen.put("rect", "ghost", **place, **high)
            pen.put("rect", "chance c1 solid bare", **place, **high)
            at = FLOOR - tall * chance - 10
            pen.text(x, at, f"{chance:.0%}", "share small")
            sign = SIGNS.get(character, character)
            pen.text(x, FLOOR + 18, sign, "mono")
    pen.line(0, FLOOR, pen.width, FLOOR, "thin")
    return pen
