"""Lighthouse on every chapter page: a slow phone on a slow network.

Needs npm, which brings Lighthouse for this one run, and Chromium.
"""

import json
import os
import subprocess

import pytest

from tests.site import serving

LIGHTHOUSE = "lighthouse@12.8.2"
COLUMNS = {
    "page": "",
    "performance": "",
    "accessibility": "",
    "best_practices": "",
    "largest_paint": "s",
    "blocked": "s",
    "layout_shift": "",
    "bytes": "B",
}


def audit(url, report):
    """Run Lighthouse on an address and return its report."""
    flags = " ".join(["--headless=new", *serving.FLAGS])
    subprocess.run(
        ["npx", "--yes", LIGHTHOUSE, url, "--quiet", "--output=json"]
        + [f"--output-path={report}", f"--chrome-flags={flags}"],
        env={**os.environ, "CHROME_PATH": serving.chromium()},
        check=True,
    )
    return json.loads(report.read_text("utf-8"))


def row(page, found):
    """Scores out of 100, and the numbers behind them."""
    score = {k: v["score"] for k, v in found["categories"].items()}
    value = {k: v.get("numericValue") for k, v in found["audits"].items()}
    return [
        page.rstrip("/"),
        round(100 * score["performance"]),
        round(100 * score["accessibility"]),
        round(100 * score["best-practices"]),
        round(value["largest-contentful-paint"] / 1000, 2),
        round(value["total-blocking-time"] / 1000, 3),
        round(value["cumulative-layout-shift"], 4),
        round(value["total-byte-weight"]),
    ]


@pytest.mark.timing
def bench_chapters_open_fast_on_a_slow_phone(record, tmp_path):
    with serving.serve(serving.build_if_older()) as base:
        rows = [
            row(page, audit(base + page, tmp_path / "report.json"))
            for page in serving.chapters()
        ]
    record(
        "chapters",
        kind="timing",
        title="Lighthouse 12.8.2 on the chapter pages, as a slow phone",
        prediction="Accessibility 100 and no layout shift, since nothing is "
        "drawn late. Performance at least 95: formulas and charts arrive "
        "ready, and what is far below is laid out later.",
        columns=COLUMNS,
        labels={
            "best_practices": "best practices",
            "largest_paint": "largest paint",
            "blocked": "time blocked",
            "layout_shift": "layout shift",
            "bytes": "transferred",
        },
        rows=rows,
    )
