"""What stands around a result: its prediction, and where it comes from.

prediction = what was expected before measuring; outcome = how it came out
provenance = kind, machine, versions, day; `short` is it in a few words
"""

import datetime
from html import escape

from llmnotes._site.tables import prose

KINDS = {
    "exact": "Exact: recomputed whenever its sources change, and compared",
    "tolerance": "Recomputed whenever its sources change, and compared to a "
    "relative tolerance of {tolerance:g}",
    "trained": "From training; trained again every week, and compared",
    "timing": "Measured; it depends on the machine and is never compared",
}


def prediction(result: dict) -> str:
    """Return what was predicted before measuring."""
    return (
        '<p class="prediction"><strong>Predicted before measuring:</strong> '
        f"{prose(result['prediction'])}</p>"
    )


def outcome(text: str) -> str:
    """Return the line that says how a prediction came out."""
    return f'<p class="outcome">{prose(text)}</p>' if text else ""


def folded(result: dict, text: str) -> str:
    """Return the prediction folded under one line: how it came out."""
    summary = prose(text) or "What we expected before measuring"
    return (
        f'<details class="prediction"><summary>{summary}</summary>'
        f"<p>{prose(result['prediction'])}</p></details>"
    )


def whole(result: dict) -> str:
    """Return where a result comes from, as one line of plain text."""
    run = result["run"]
    kind = KINDS[result["kind"]].format(**result)
    return (
        f"{kind}. {_machine(run)}; {run['date']}, "
        f"commit {run['commit']}{_seeds(result)}.{_fairness(result)}"
    )


def machine(result: dict) -> str:
    """Return the command and what it ran on, without the day."""
    return f"{result['command']}: {_machine(result['run'])}"


def _machine(run: dict) -> str:
    gpu = f", {run['gpu']}" if run["gpu"] else ""
    versions = ", ".join(
        f"{'Python' if k == 'python' else k} {v}"
        for k, v in run["versions"].items()
    )
    return (
        f"{run['cpu']}{gpu}, {_count(run['cores'], 'core')}, "
        f"{_count(run['threads'], 'thread')}, {run['os']}; {versions}"
    )


def _seeds(result: dict) -> str:
    """Say what the dice were, and of something trained what they did."""
    if result["kind"] != "trained":
        seed = result["seed"]
        return "" if seed is None else f", seed {seed}"
    first, *others = result["seeds"]
    if not others:
        return f", one seed ({first}); spread not measured"
    return f", {len(result['seeds'])} seeds ({first} to {others[-1]})"


def _fairness(result: dict) -> str:
    """Say how a race was made fair, or what an example is one of."""
    if "example" in result:
        return f" An example: {result['example']}."
    if "race" not in result:
        return ""
    race = result["race"]
    best = ", ".join(f"{k} {v['best']:g}" for k, v in race["rates"].items())
    tried = len(next(iter(race["rates"].values()))["tried"])
    starts = "; ".join(f"{k}: {v}" for k, v in race["starts"].items())
    return (
        f" Rates chosen on {race['chosen_on']}, {tried} tried for each: "
        f"{best}; reported on {race['reported_on']}. Starts: {starts}."
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def line(result: dict, data_url: str | None) -> str:
    """Return the line below a table: machine, versions, command, data."""
    data = f' <a href="{escape(data_url)}">Data (JSON)</a>' if data_url else ""
    return (
        f'<p class="provenance">{escape(whole(result))} Run again '
        f"with <code>{escape(result['command'])}</code>.{data}</p>"
    )


def short(result: dict) -> str:
    """Return kind and day in a few words: tolerance 0.01 · 22 Nov 2026."""
    kind, run = result["kind"], result["run"]
    words = {
        "tolerance": f"tolerance {result.get('tolerance', 0):g}",
        "trained": _count(len(result.get("seeds", "")), "seed"),
    }
    day = datetime.date.fromisoformat(run["date"])
    return f"{words.get(kind, kind)} · {day.day} {day:%b %Y}"


def brief(result: dict, data_url: str | None) -> str:
    """Return the short line below a table, with its data."""
    data = f' · <a href="{escape(data_url)}">data</a>' if data_url else ""
    return f'<p class="provenance">{escape(short(result))}{data}</p>'
