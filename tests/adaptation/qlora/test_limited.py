"""Under a real limit of memory, 4 bits fit where 16 do not."""

import json
import os
import subprocess
import sys

import pytest

from tests.adaptation.qlora import limited

FIXED = {"MALLOC_MMAP_THRESHOLD_": "131072"}  # what is freed is given back


def run(bits, megabytes=None, layers=6):
    """What a process says that may have so many megabytes more."""
    words = [bits, layers] + ([megabytes] if megabytes else [])
    command = [sys.executable, "-m", limited.__name__, *map(str, words)]
    said = subprocess.run(
        command, capture_output=True, text=True, check=True,
        env=os.environ | FIXED,
    )  # fmt: skip
    return json.loads(said.stdout)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the limit is Linux's"
)
def test_under_the_same_limit_four_bits_fit_and_sixteen_do_not():
    fits = run(4, 92)
    assert fits["fits"] and fits["loss"] > 0
    refused = run(16, 92)
    assert not refused["fits"]
    assert "memory" in refused["why"]
    assert run(16, 400)["fits"]  # it is the limit, and nothing else
