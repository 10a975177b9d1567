"""How a run looks from outside: a bar, a curve in the terminal, an SVG."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from llmnotes.progress_bar import Patient, bar, writable
from llmnotes.run import History, Row, Run, warn

BARS = "▁▂▃▄▅▆▇█"
PLAIN = "_.-=+*%#"  # where the terminal has no such bars
WIDE, HIGH, EDGE = 640, 320, 48  # pixels
HEAD = f"""<svg xmlns="http://www.w3.org/2000/svg" role="img"
 aria-label="Learning curve" viewBox="0 0 {WIDE} {HIGH}">
<style>
svg {{ font: 14px system-ui, sans-serif; background: #fff; fill: #222 }}
polyline {{ fill: none; stroke-width: 2 }}
.training {{ stroke: #0072b2; stroke-dasharray: 6 4 }}
.validation {{ stroke: #d55e00 }}
</style>"""


class Meter:
    """A bar with loss, speed and time left, on stderr.

    Without a terminal there is no bar, only one line per evaluation.
    """

    def __init__(self, run: Run, on: bool):
        self.run, self.on = run, on and writable(sys.stderr)

    def __enter__(self) -> "Meter":
        """Show the bar."""
        run, task = self.run, self.run.task
        self.bar = bar(
            on=self.on,
            total=run.config.steps * task.size,
            initial=run.step * task.size,
            unit=f" {task.unit}",
            unit_scale=True,
        )
        return self

    def __exit__(self, *error) -> None:
        """Leave the bar where it is."""
        self.bar.close()

    def tick(self, loss: Tensor) -> None:
        """Count one step; the loss is fetched only when it is drawn."""
        if self.bar.update(self.run.task.size):
            self.bar.set_description_str(f"loss {loss.item():.3f}", False)

    def tell(self) -> None:
        """Print the last evaluation and draw the curve so far."""
        history, out = self.run.history, self.run.out
        if out is not None:
            draw(history, out / "curve.svg", self.run.task.measure)
        if not self.on:
            return
        row = history[-1]
        losses = [row.validation_loss for row in history]
        line = (
            f"step {row.step:>6,}  loss {row.loss:.3f}  validation "
            f"{row.validation_loss:.3f}  "
        )
        room = shutil.get_terminal_size().columns - 1 - len(line)
        curve = sparkline(losses, max(2, min(32, room)))
        tqdm.write(line + curve, file=Patient(sys.stderr))


def sparkline(values: Sequence[float], width: int = 32) -> str:
    """A curve in one line of text: ▇▅▃▂▁; long ones are thinned out."""
    if len(values) > width:
        last = len(values) - 1
        values = [values[i * last // (width - 1)] for i in range(width)]
    low, high = min(values), max(values)
    step = (high - low) / (len(BARS) - 1) or 1
    bars = BARS if shows(sys.stderr, BARS) else PLAIN
    return "".join(bars[round((value - low) / step)] for value in values)


def shows(stream: Any, text: str) -> bool:
    """Whether a stream's encoding has all letters of a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def draw(history: History, file: Path, measure: str) -> None:
    """Write the curve to a file; a run does not end for want of a picture."""
    try:
        file.write_text(svg(history, measure), "utf-8")
    except OSError as error:
        warn(f"{file}: not drawn ({error.strerror})")


def svg(history: History, measure: str) -> str:
    """The learning curve as a picture; dashed: training, solid: validation."""
    curves = {
        "training": [(row.step, row.loss) for row in history],
        "validation": [(row.step, row.validation_loss) for row in history],
    }
    losses = [loss for points in curves.values() for _, loss in points]
    low, high, last = min(losses), max(losses), history[-1].step

    def place(step, loss):
        right = EDGE + step / last * (WIDE - 2 * EDGE)
        down = EDGE + (high - loss) / (high - low or 1) * (HIGH - 2 * EDGE)
        return f"{right:.1f},{down:.1f}"

    drawn = [
        f'<polyline points="{" ".join(place(*point) for point in points)}" '
        f'class="{name}"/>'
        for name, points in curves.items()
    ]
    words = labels(measure, low, high, history[-1])
    return "\n".join([HEAD, *drawn, *words, "</svg>"])


def labels(measure: str, low: float, high: float, row: Row) -> list[str]:
    """The words of the picture: what, from where to where."""
    words = [
        (EDGE, EDGE - 20, "start", measure),
        (EDGE - 6, EDGE + 4, "end", f"{high:.2f}"),
        (EDGE - 6, HIGH - EDGE + 4, "end", f"{low:.2f}"),
        (EDGE, HIGH - 20, "start", "step 0"),
        (WIDE - EDGE, HIGH - 20, "end", f"step {row.step:,}"),
        (
            WIDE - EDGE,
            EDGE - 20,
            "end",
            f"validation {row.validation_loss:.3f} (solid), training "
            f"{row.loss:.3f} (dashed)",
        ),
    ]
    return [
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'
        for x, y, anchor, text in words
    ]
