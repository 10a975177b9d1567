"""Compiled loops: the exponential function, and a cache that notices."""

import math
import os
import subprocess
import sys

import numpy as np
import torch

from llmnotes import compiled
from llmnotes.kernels.flash_attention import cpu


def test_exp_is_right_to_the_last_bits_and_does_not_overflow():
    x = np.linspace(-87, 87, 4001, dtype=np.float32)
    got = np.array([compiled.exp(v) for v in x])
    want = np.exp(x.astype(np.float64))
    assert (abs(got / want - 1)).max() < 1e-5
    for extreme in (-1e30, 1e30, -math.inf):
        assert 0 <= compiled.exp(np.float32(extreme)) < math.inf


def test_exp_is_right_to_a_millionth_where_it_is_used():
    x = np.linspace(-20, 20, 4001).astype(np.float32)
    got = np.array([compiled.exp(v) for v in x])
    expected = np.exp(x.astype(np.float64))
    assert np.all(np.abs(got - expected) <= 1e-6 * (1 + expected) * 2)


LOOP = """
import numpy as np
from {module} import jit, exp

@jit
def loop(x):
    return exp(x)

print(loop(np.float32(1)), sum(loop.stats.cache_hits.values()))
"""


def test_a_kept_loop_is_compiled_anew_when_what_it_calls_has_changed(tmp_path):
    """The fault: after an edit of exp, its callers kept the old one."""
    text = open(compiled.__file__, encoding="utf-8").read()
    called = tmp_path / "called.py"
    called.write_text(text)
    main = tmp_path / "main.py"
    main.write_text(LOOP.format(module="called"))

    def run():
        env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
        words = [sys.executable, "-B", str(main)]
        found = subprocess.run(
            words, capture_output=True, text=True, check=True, env=env
        )
        value, hits = found.stdout.split()
        return float(value), int(hits)

    (first, cold), (again, warm) = run(), run()
    assert first == again and (cold, warm) == (0, 1)
    assert math.isclose(first, math.e, rel_tol=1e-6)
    called.write_text(text.replace("return p * bits", "return p + bits"))
    changed, hits = run()
    assert changed != first and hits == 0


CHAIN = {
    "far.py": """
from llmnotes.compiled import jit

@jit
def half(x):
    return 0.5 * x
""",
    "numbers_here.py": "ADDED = 3\nUNUSED = 4\nBOTH = (1, 2)\n",
    "middle.py": """
import far
from llmnotes.compiled import jit
from numbers_here import ADDED, BOTH

@jit
def step(x):
    return far.half(x) + ADDED + BOTH[1]

def made(factor):
    @jit
    def scaled(x):
        return factor * step(x)
    return scaled

scaled = made(10)
""",
    "main.py": """
from llmnotes.compiled import jit
from middle import scaled

@jit
def loop(x):
    return scaled(x)

print(loop(8.0), sum(loop.stats.cache_hits.values()))
""",
}
EDITS = [  # file, what it said, what it says, the value then, kept?
    ("far.py", "0.5 * x", "0.25 * x", 70, 0),
    ("numbers_here.py", "= 3", "= 4", 80, 0),
    ("numbers_here.py", "(1, 2)", "(1, 9)", 150, 0),
    ("middle.py", "made(10)", "made(20)", 300, 0),
    ("numbers_here.py", "UNUSED = 4", "UNUSED = 7", 300, 1),
]


def test_a_kept_loop_notices_a_change_however_far_away(tmp_path):
    for name, text in CHAIN.items():
        (tmp_path / name).write_text(text, "utf-8")

    def run():
        env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
        words = [sys.executable, "-B", str(tmp_path / "main.py")]
        found = subprocess.run(
            words, capture_output=True, text=True, check=True, env=env
        )
        value, hits = found.stdout.split()
        return float(value), int(hits)

    assert [run(), run()] == [(90, 0), (90, 1)]
    for file, was, now, value, hits in EDITS:
        path = tmp_path / file
        path.write_text(path.read_text("utf-8").replace(was, now), "utf-8")
        assert run() == (value, hits), file


def test_at_a_prompt_a_loop_is_compiled_and_not_kept():
    """There numba says "no locator available", and a copied block stops."""
    names = {"jit": compiled.jit}
    code = "@jit\ndef twice(x):\n    return 2 * x\n"
    exec(compile(code, "<stdin>", "exec"), names)
    assert names["twice"](21) == 42
    assert not names["twice"].stats.cache_hits


def test_the_kernels_of_attention_are_kept():
    q = torch.ones(1, 1, 3, 2, requires_grad=True)
    cpu.flash_attention(q, q, q).sum().backward()  # kept by now
    program = (
        "import torch\n"
        "from llmnotes.kernels.flash_attention import cpu\n"
        "q = torch.ones(1, 1, 3, 2, requires_grad=True)\n"
        "cpu.flash_attention(q, q, q).sum().backward()\n"
        "workers = cpu.forward_worker, cpu.backward_worker\n"
        "print(*(sum(w.stats.cache_hits.values()) for w in workers))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == ["1", "1"]


TWINS = """
import sys
from numba import njit
from llmnotes.compiled import keep

def made(factor):
    @njit
    def inner(x):
{lines}
        return factor * x
    return inner

one, two = made(1), made(2)

@njit
def first(x):
    return one(x)

@njit
def second(x):
    return two(x)

loops = dict(first=keep(first), second=keep(second))
print([loops[name](0.0) for name in sys.argv[1:]])
"""


def test_loops_kept_by_two_processes_do_not_lend_each_other_functions(
    tmp_path,
):
    """The fault: what one called `inner` ran in place of the other's."""
    long = ["        x = x + abs(x - 1)"] * 99  # too long to be inlined
    twins = tmp_path / "twins.py"
    twins.write_text(TWINS.format(lines="\n".join(long)))

    def run(*names):
        env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
        words = [sys.executable, "-B", str(twins), *names]
        found = subprocess.run(
            words, capture_output=True, text=True, check=True, env=env
        )
        return eval(found.stdout)

    (one,), (two,) = run("first"), run("second")
    assert two == 2 * one
    assert run("first", "second") == [one, two]
