"""Charts as inline SVG: matplotlib's drawing, the page's colours and font.

One picture serves light and dark: matplotlib draws in stand-in colours that
become currentColor and the variables --c1 … --c6. Lines are labelled at
their end, in the order in which they end, pushed apart where they would
touch. A band around a line is its spread, from the lowest to the highest.
The same data gives the same bytes.
"""

import io
import itertools
import math
from dataclasses import dataclass, field

from llmnotes._site import svgs, tables
from llmnotes._site.svgs import INK, SERIES

MARKERS = "os^DvP"
DENSE = 20  # points of a line; more are drawn without marks
UNIT = 72  # to an inch
SI_UNITS = {"s", "B", "FLOP", "FLOP/s", "B/s", "Hz"}
STYLE = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.family": "sans-serif",
    "grid.alpha": 0.15,
    "grid.color": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.minor.size": 0,
    "ytick.color": INK,
    "ytick.minor.size": 0,
}


@dataclass(frozen=True)
class Sheet:
    """The size of a drawing, in inches, and of its text, in units."""

    name: str
    width: float
    height: float
    text: float

    @property
    def gap(self) -> float:
        """Between two labels, in units."""
        return 1.25 * self.text


# A phone shows the narrow one as large as it is: text below 12 is too small.
WIDE = Sheet("wide", 403 / UNIT, 3.3, 10.5)
NARROW = Sheet("narrow", 343 / UNIT, 3.5, 12)


@dataclass(frozen=True)
class Chart:
    """What to draw: named series of points, and the words around them."""

    series: dict[str, tuple[list, list]]  # name -> (x values, y values)
    x: dict  # column: name, unit, label
    y: dict
    kind: str = "line"  # line | scatter | bar
    scale: str = "linear-linear"  # of x and of y: linear or log
    names: dict[str, str] = field(default_factory=dict)
    lines: frozenset[str] = frozenset()  # series of a scatter drawn as lines
    spread: dict[str, tuple[list, list]] = field(default_factory=dict)


def both(chart: Chart, identity: str, alt: str) -> str:
    """Return the chart twice; a style sheet shows the one that fits."""
    return svg(chart, identity, alt) + svg(chart, f"{identity}n", alt, NARROW)


def svg(chart: Chart, identity: str, alt: str, sheet: Sheet = WIDE) -> str:
    """Return the chart as an <svg> element; `identity` is unique on a page."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    set_here = {"svg.hashsalt": identity, "font.size": sheet.text}
    with pyplot.rc_context({**STYLE, **set_here}):
        figure, axes = pyplot.subplots(
            figsize=(sheet.width, _height(chart, sheet)), layout="constrained"
        )
        if chart.kind == "bar":
            _bars(axes, chart)
        else:
            _lines(axes, chart, sheet)
        out = io.StringIO()
        figure.savefig(
            out, format="svg", transparent=True, metadata={"Date": None}
        )
        pyplot.close(figure)
    return svgs.clean(out.getvalue(), identity, alt, sheet.name)


def _height(chart: Chart, sheet: Sheet) -> float:
    if chart.kind != "bar":
        return sheet.height
    bars = sum(len(xs) for xs, _ in chart.series.values())
    return 0.7 + 0.03 * sheet.text * bars


def words(col: dict, with_unit: bool = True) -> str:
    """Return the words of an axis: label, and unit unless the ticks say it."""
    text = col.get("label") or col["name"]
    show = with_unit and col["unit"] and col["unit"] not in SI_UNITS
    return f"{text} ({col['unit']})" if show else text


def _tick(value, unit: str) -> str:
    if value == 0:
        return "0"
    if unit in SI_UNITS:
        return tables.number(value, "si", unit)
    if value == round(value):
        return tables.number(round(value))
    digits, dot, power = tables.number(value).partition("·")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return power if power and digits == "1" else digits + dot + power


def _lines(axes, chart: Chart, sheet: Sheet) -> None:
    for i, name, xs, ys in _numbered(chart):
        scatter = chart.kind == "scatter" and name not in chart.lines
        rule = chart.kind == "scatter" and name in chart.lines
        dense = len(xs) > DENSE and not scatter
        axes.plot(
            xs,
            ys,
            color=INK if rule else SERIES[i % 6],
            linestyle="none" if scatter else "-",
            linewidth=1 if rule else None,
            marker=None if rule or dense else MARKERS[i % 6],
        )
        if name in chart.spread:
            low, high = chart.spread[name]
            axes.fill_between(
                xs, low, high, color=SERIES[i % 6], alpha=0.15, linewidth=0
            )
    across, _, up = chart.scale.partition("-")
    axes.set_xscale(across)
    axes.set_yscale(up or across)
    _ticks(axes.xaxis, [x for xs, _ in chart.series.values() for x in xs])
    _ticks(axes.yaxis, [y for _, ys in chart.series.values() for y in ys])
    if axes.get_yscale() == "linear" and axes.get_ylim()[0] > 0:
        axes.set_ylim(bottom=0)
    _format(axes.xaxis, chart.x["unit"])
    _format(axes.yaxis, chart.y["unit"])
    axes.set_xlabel(words(chart.x))
    axes.set_title(words(chart.y), loc="left", fontsize=sheet.text, x=0, pad=9)
    axes.grid(axis="y")
    _direct_labels(axes, chart, sheet)


def _numbered(chart: Chart):
    """Yield colour number, name and points; rules do not use up colours."""
    order = sorted(chart.series, key=lambda name: name in chart.lines)
    for i, name in enumerate(order):
        yield i, name, *chart.series[name]


def _format(axis, unit: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda v, _: _tick(v, unit)))
    axis.set_minor_formatter(NullFormatter())


def _ticks(axis, values, most: int = 5) -> None:
    """Put ticks where a reader expects them; `most` steps if linear."""
    from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator

    if axis.get_scale() != "log":
        axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
        return
    low, high = min(values), max(values)
    if all(math.log2(v).is_integer() for v in values):
        powers = range(int(math.log2(low)), int(math.log2(high)) + 1)
        room = 8 if high < 1_000 else 4  # numbers with a comma are wide
        least = math.ceil(len(powers) / room)
        ends = (n for n in (least, least + 1) if (len(powers) - 1) % n == 0)
        step = next(ends, least)  # a tick at either end, where it can be
        axis.set_major_locator(FixedLocator([2.0**p for p in powers[::step]]))
    else:
        short = high / low < 100
        subs = (1, 2, 5) if short else (1,)
        axis.set_major_locator(LogLocator(subs=subs, numticks=9))


def _direct_labels(axes, chart: Chart, sheet: Sheet) -> None:
    """Write each series' name beside its end, none over another."""
    ends = []
    for i, name, xs, ys in _numbered(chart):
        x, y = max(zip(xs, ys, strict=True))
        height = axes.transData.transform((x, y))[1]
        height = float(height) * UNIT / axes.figure.dpi
        color = INK if name in chart.lines else SERIES[i % 6]
        ends.append((height, x, y, chart.names.get(name, name), color))
    if len(ends) == 1:  # one line needs no name
        return
    ends.sort(key=lambda end: end[0])
    places = spread([end[0] for end in ends], sheet.gap)
    for (height, x, y, name, color), place in zip(ends, places, strict=True):
        axes.annotate(
            name,
            (x, y),
            xytext=(14, place - height),
            textcoords="offset points",
            va="center_baseline",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )


def spread(heights: list[float], gap: float) -> list[float]:
    """Move sorted heights as little as need be, so that none are nearer.

    Groups of labels that touch are spaced evenly around their mean.
    """
    groups = []  # [mean, members]
    for height in heights:
        groups.append([height, 1])
        while len(groups) > 1 and _touch(groups[-2], groups[-1], gap):
            (a, n), (b, m) = groups[-2:]
            groups[-2:] = [[(a * n + b * m) / (n + m), n + m]]
    return [
        mean + (i - (n - 1) / 2) * gap for mean, n in groups for i in range(n)
    ]


def _touch(lower, upper, gap) -> bool:
    half = (lower[1] + upper[1]) / 2
    return upper[0] - lower[0] < half * gap - 1e-9


def _bars(axes, chart: Chart) -> None:
    """Draw horizontal bars; each says its value and, if several, its name."""
    many = len(chart.series) > 1
    places = list(
        dict.fromkeys(
            itertools.chain(*(xs for xs, _ in chart.series.values()))
        )
    )
    height = 0.8 / len(chart.series)
    for i, (name, (xs, ys)) in enumerate(chart.series.items()):
        at = [places.index(x) + i * height for x in xs]
        axes.barh(at, ys, height * 0.9, color=SERIES[i % 6])
        for place, y in zip(at, ys, strict=True):
            text = _tick(y, chart.y["unit"])
            text = f"{text}  {chart.names.get(name, name)}" if many else text
            axes.annotate(
                text,
                (max(y, 0), place),  # of a bar to the left, beside zero
                xytext=(4, 0),
                textcoords="offset points",
                va="center_baseline",
            )
    middle = (len(chart.series) - 1) / 2 * height
    names = [chart.names.get(str(p), tables.number(p)) for p in places]
    axes.set_yticks([p + middle for p in range(len(places))], names)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xscale("log" if "log" in chart.scale else "linear")
    axes.set_xlabel(words(chart.y))
    if axes.get_xscale() == "linear":
        narrow = max(map(len, names)) > 24  # little is left for the bars
        _ticks(axes.xaxis, [], 2 if narrow else 5)
        lowest = min(y for _, ys in chart.series.values() for y in ys)
        if lowest < 0:
            axes.axvline(0, color=INK, linewidth=0.8)
            axes.spines["left"].set_visible(False)
        else:
            axes.set_xlim(left=0)
    _format(axes.xaxis, chart.y["unit"])
