"""matplotlib's SVG as an element of the page: our colours, unique ids, small.

It draws in stand-in colours, which become those of the style sheet here.
"""

import functools
import re
from html import escape

INK = "#c0ffee"  # becomes currentColor
SERIES = [f"#c{i}c0c0" for i in range(1, 7)]  # become --c1 … --c6


def clean(text: str, identity: str, alt: str, name: str = "") -> str:
    """Make matplotlib's file an element of the page, and small."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.S)
    for i, color in enumerate(SERIES, 1):
        text = text.replace(color, f"var(--c{i})")
    text = text.replace(INK, "currentColor")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r" *font-family: [^;\"]*;?", "", text)
    text = _ids(text, identity)
    text = re.sub(r"<defs>\s*</defs>", "", text)
    text = re.sub(r'<path d="[^"]*" style="fill: none"/>', "", text)
    text = re.sub(r' transform="rotate\(-0 [^"]*"', "", text)
    text = re.sub(r"(\d\.\d)\d{2,}(?=[^<>]*>)", r"\1", text)
    while (shorter := re.sub(r"<g/>|<g>\s*</g>", "", text)) != text:
        text = shorter
    text = text.replace("xlink:href", "href").replace("; ", ";")
    text = text.replace(": ", ":").replace('style=""', "")
    text = re.sub(r"[ \n]*\n\s*", "\n", text).replace(">\n<", "><")
    head = re.search(r'viewBox="[^"]*"', text)[0]
    words, kind = escape(alt), f"chart {name}".strip()
    return (
        f'<svg class="{kind}" role="img" aria-label="{words}" {head} '
        f'style="font-family:inherit"><title>{words}</title>'
        + text[text.index(">") + 1 :].strip()
    )


def _ids(text: str, identity: str) -> str:
    """Keep only ids that something refers to, made unique on the page."""
    used = set(re.findall(r'(?:href="#|url\(#)([\w.]+)', text))

    @functools.cache
    def new(old):
        return f"{identity}-{sorted(used).index(old)}"

    text = re.sub(
        r' id="([\w.]+)"',
        lambda m: f' id="{new(m[1])}"' if m[1] in used else "",
        text,
    )
    return re.sub(
        r'(href="#|url\(#)([\w.]+)', lambda m: m[1] + new(m[2]), text
    )
