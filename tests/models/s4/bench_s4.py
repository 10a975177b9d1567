"""What the chapter computes: what is kept, what explodes, what it costs."""

import torch

from llmnotes.models.s4 import (
    bilinear,
    convolve,
    diagonal_kernel,
    diagonal_linear,
    direct_flops,
    euler,
    faded,
    fft_flops,
    legs,
    normal_part,
    products,
    radius,
    recall,
    remember,
    rounds,
    zoh,
    zoh_diagonal,
)
from llmnotes.models.s4.diagonal import diagonal_step
from tests.models.s4.naive import divided

LENGTH, STATES = 512, (4, 16, 64)


def signal():
    """A slow wave and a quick one, and a jump: values at every step."""
    s = (torch.arange(LENGTH).double() + 0.5) / LENGTH
    waves = (9 * s).sin() + 0.4 * (31 * s + 1).sin()
    return s, waves + 0.8 * (s > 0.7)


def newest(x, state):
    """What is known if the newest values are kept: zero before them."""
    kept = torch.zeros_like(x)
    kept[-state:] = x[-state:]
    return kept


def size(x):
    """The root of the mean square."""
    return x.square().mean().sqrt().item()


def bench_what_a_state_remembers(record):
    s, x = signal()
    by_hippo = {n: recall(remember(x, n)[-1], s) for n in STATES}
    lines = {"signal": x, **{f"{n}": line for n, line in by_hippo.items()}}
    record(
        "recalled",
        kind="tolerance",
        tolerance=1e-6,
        seed=None,
        title=f"A past of {LENGTH} steps, and what states recall of it",
        prediction=(
            "4 numbers give the slow wave alone, 16 the quick one as well "
            "and a jump that is smeared out; 64 nearly all."
        ),
        columns={"who": "", "step": "", "value": ""},
        labels={"who": "numbers kept"},
        rows=[
            (who, place, line[place].item())
            for who, line in lines.items()
            for place in range(4, LENGTH, 8)
        ],
    )
    scale = size(x)
    ways = {
        "the newest": newest,
        "HiPPO": lambda x, state: by_hippo[state],
    }
    record(
        "kept",
        kind="tolerance",
        tolerance=1e-6,
        seed=None,
        title="Error of the recalled past, as a part of the signal",
        prediction=(
            "Who keeps the newest values knows nothing of the rest: an error "
            "near 1 even for 64 of 512. Polynomials err by a half with 4 "
            "numbers, and by less than a tenth with 16 and 64."
        ),
        columns={"way": "", "state": "numbers", "error": ""},
        labels={"way": "kept", "error": "rms error"},
        rows=[
            (
                way,
                state,
                (
                    (recalled(x, state) - x).square().mean().sqrt() / scale
                ).item(),
            )
            for way, recalled in ways.items()
            for state in STATES
        ],
    )


def bench_how_an_input_weighs(record):
    ages = torch.linspace(0, 4, 41, dtype=torch.float64)
    weights = faded(4, ages)
    record(
        "weights",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="How an input weighs on a number of the state, by its age",
        prediction=(
            "Number n is the polynomial of degree n over a past that is "
            "squeezed by e^{-age}, so n zeros, all at young ages, and all "
            "fade as e^{-age} in the end."
        ),
        columns={"order": "", "age": "", "weight": ""},
        labels={"order": "number"},
        rows=[
            (f"{n}", round(age.item(), 3), weights[i, n].item())
            for n in range(4)
            for i, age in enumerate(ages)
        ],
    )


def largest(matrix):
    """|Eigenvalue| of a lower triangular matrix: on its diagonal.

    A general routine finds them to 1e-7 only, and elsewhere to other digits:
    their eigenvectors are nearly parallel.
    """
    assert matrix.triu(1).abs().max() < 1e-12
    found = matrix.diagonal().abs().max().item()
    assert abs(radius(matrix) / found - 1) < 1e-3
    return found


def bench_which_steps_explode(record):
    a, b = legs(16)
    rules = {"hold": zoh, "bilinear": bilinear, "Euler": euler}
    record(
        "stability",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="Largest |eigenvalue| of a step, HiPPO-LegS of 16 numbers",
        prediction=(
            "Eigenvalues are -1 … -16. A hold gives e^{-Δ}, always below 1. "
            "Euler's 1 - 16Δ passes -1 at Δ = 1/8. Bilinear stays below 1 "
            "for every Δ, but nears it again for long steps, from the other "
            "side."
        ),
        columns={"rule": "", "step": "", "radius": ""},
        labels={"step": "step Δ", "radius": "largest |eigenvalue|"},
        rows=[
            (name, step, largest(rule(a, b, step).a))
            for name, rule in rules.items()
            for step in (0.01, 0.02, 0.05, 0.1, 0.125, 0.2, 0.5, 1.0, 2.0, 4.0)
        ],
    )


def condition(matrix):
    """Of its eigenvectors: how many times an error may grow on the way."""
    return torch.linalg.cond(torch.linalg.eig(matrix).eigenvectors).item()


def bench_eigenvectors_that_cannot_be_used(record):
    record(
        "conditions",
        kind="tolerance",
        tolerance=0.02,
        seed=None,
        title="Condition of the eigenvectors, of A and of its normal part",
        prediction=(
            "A's grow as 2^{4N/3} (S4, lemma 3.2), so beyond 1e7 at 16, "
            "where float32 is lost; a normal matrix has a condition of 1."
        ),
        columns={"state": "", "legs": "", "normal": ""},
        labels={
            "state": "N",
            "legs": "HiPPO-LegS",
            "normal": "its normal part",
        },
        rows=[
            (n, condition(legs(n).a), condition(normal_part(n)))
            for n in (2, 4, 8, 12, 16)
        ],
    )


def bench_operations(record):
    lengths = (16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
    ways = {"direct": direct_flops, "FFT": fft_flops}
    record(
        "operations",
        kind="exact",
        seed=None,
        title="FLOPs of one causal convolution, for each channel",
        prediction=(
            "L(L+1) against 15 L log₂ 2L + 6L: equal where L is about 15 "
            "log₂ 2L, near 130, and 70 to 1 at 16,384."
        ),
        columns={"way": "", "length": "", "flops": "FLOP"},
        rows=[
            (way, length, count(length))
            for way, count in ways.items()
            for length in lengths
        ],
    )


def bench_where_the_naive_scan_ends(record):
    torch.manual_seed(0)
    rows = []
    for decay in (0.05, 0.1, 0.2, 0.5, 1.0):
        log_keep = torch.full((1, 4096, 1), -decay)
        found = divided(log_keep, torch.ones(1, 4096, 1))[0, :, 0]
        ours = products(log_keep, torch.ones(1, 4096, 1), 64)[0, :, 0]
        assert ours.isfinite().all()
        bad = (~found.isfinite()).nonzero()
        rows.append((decay, bad[0].item() if len(bad) else "–"))
    record(
        "overflow",
        kind="exact",
        seed=0,
        title="The place from which a scan by running sums is no number, "
        "float32",
        prediction=(
            "e^88 is the largest float32, so at 88.7 / decay: 1,774 at 0.05 "
            "and 177 at 0.5; its sum is larger still, so a little earlier."
        ),
        columns={"decay": "", "place": ""},
        labels={"decay": "decay for each step", "place": "no number from"},
        rows=rows,
    )


def bench_three_forms(record):
    torch.manual_seed(0)
    rows = []
    a = diagonal_linear(16)[None]
    c = torch.randn(1, 8, dtype=torch.complex128)
    for length in (16, 256, 4096):
        modes = zoh_diagonal(a, torch.full((1,), 0.05).double())
        x = torch.randn(1, length, 1, dtype=torch.float64)
        h, slow = torch.zeros(1, 1, 8, dtype=torch.complex128), []
        for x_t in x.unbind(1):
            y, h = diagonal_step(modes, c, x_t, h)
            slow.append(y)
        slow = torch.stack(slow, 1)[0, :, 0]
        taps = diagonal_kernel(*modes, c, length)
        fast = convolve(x[..., 0], taps)[0]
        states = rounds(modes.a.expand(1, length, 8), x * modes.b)
        scanned = 2 * (states * c).sum(-1).real[0]
        size = slow.abs().max()
        rows.append(
            (
                length,
                *(
                    (found - slow).abs().max().div(size).item() < 1e-12
                    for found in (fast, scanned)
                ),
            )
        )
    record(
        "forms",
        kind="exact",
        seed=0,
        title="Convolution and scan equal the recurrence to 1e-12, float64",
        prediction="All do.",
        columns={"length": "", "convolution": "", "scan": ""},
        rows=[
            (length, *("yes" if yes else "no" for yes in both))
            for length, *both in rows
        ],
    )
