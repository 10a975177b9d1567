"""Laws: published fits as numbers, and a fit that finds what was put in."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from llmnotes.parallel.data_efficiency import fitting, scaling
from llmnotes.parallel.data_efficiency.scaling import (
    BESIROGLU,
    CHINCHILLA,
    Law,
    crossing,
    optimum,
    worth,
)

TRUE = Law(1.3, 60.0, 150.0, 0.45, 0.4)
FEW = fitting.STARTS[::24]


def runs_of(law, noise=0.0, seed=0):
    n = torch.tensor([1e4, 3e4, 1e5, 3e5], dtype=torch.float64)
    d = torch.tensor([6e4, 2e5, 6e5], dtype=torch.float64)
    n, d = (x.flatten() for x in torch.meshgrid(n, d, indexing="ij"))
    loss = torch.tensor(
        [law(*p) for p in zip(n.tolist(), d.tolist(), strict=True)]
    )
    generator = torch.Generator().manual_seed(seed)
    off = noise * torch.randn(len(n), generator=generator)
    return n, d, loss.double() * off.double().exp()


def close(one, other, rel):
    for name in ("floor", "a", "b", "alpha", "beta"):
        found, wanted = getattr(one, name), getattr(other, name)
        assert found == pytest.approx(wanted, rel=rel), name


def test_the_optimum_is_the_lowest_loss_of_all_sizes():
    for law in (CHINCHILLA, BESIROGLU, TRUE):
        for compute in (1e14, 5.76e23):
            n, d = optimum(compute, law)
            assert 6 * n * d == pytest.approx(compute, rel=1e-12)
            tried = n * np.exp(np.linspace(-1, 1, 2001))
            losses = [law(x, compute / 6 / x) for x in tried]
            assert tried[np.argmin(losses)] == pytest.approx(n, rel=2e-3)


def test_by_hand_with_equal_terms_both_are_the_root_of_the_pairs():
    assert optimum(6e10, Law(1, 5, 5, 0.5, 0.5)) == pytest.approx((1e5, 1e5))


def test_the_printed_constants_do_not_give_the_printed_model():
    n, d = optimum(5.76e23, CHINCHILLA)
    assert n == pytest.approx(32.2e9, rel=1e-3)  # the paper says 40e9
    assert d / n == pytest.approx(92.6, rel=1e-3)
    assert CHINCHILLA.exponent == pytest.approx(0.4516, abs=5e-5)
    n, d = optimum(5.76e23, BESIROGLU)
    assert n == pytest.approx(72.2e9, rel=1e-3)
    assert d / n == pytest.approx(18.4, abs=0.05)
    assert BESIROGLU.exponent == pytest.approx(0.5126, abs=5e-5)


def test_losses_of_chinchilla_and_gopher():
    assert CHINCHILLA(70e9, 1.4e12) == pytest.approx(1.9366, abs=5e-5)
    assert CHINCHILLA(280e9, 300e9) == pytest.approx(1.9933, abs=5e-5)


def test_both_laws_recommend_one_model_at_1e18():
    compute = crossing(CHINCHILLA, BESIROGLU)
    assert compute == pytest.approx(1.01e18, rel=1e-3)
    first = optimum(compute, CHINCHILLA)
    assert first == pytest.approx(optimum(compute, BESIROGLU), rel=1e-9)
    assert first[0] == pytest.approx(8.1e7, rel=1e-2)


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [(1, 1), (2, 1.9682), (4, 3.7257), (8, 6.6241), (16, 10.5825),
     (40, 15.1675), (1e9, 16.3878)],
)  # fmt: skip
def test_what_epochs_are_worth(epochs, expected):
    assert worth(epochs) == pytest.approx(expected, abs=5e-5)


def test_a_fit_finds_the_law_behind_runs_without_noise():
    close(fitting.fit(*runs_of(TRUE), FEW), TRUE, rel=1e-4)


def test_with_noise_it_is_the_fit_of_scipys_l_bfgs():
    optimize = pytest.importorskip("scipy.optimize")
    points = runs_of(TRUE, noise=0.01)
    counts = torch.ones(1, len(points[0]), dtype=torch.float64)

    def scaled(x):  # so that its own tolerances mean something
        value, gradient = fitting.slope(torch.tensor(x)[None], counts, *points)
        return 1e4 * float(value), 1e4 * gradient[0].numpy()

    tries = [
        optimize.minimize(
            scaled, start, jac=True, method="L-BFGS-B",
            options=dict(maxiter=3000, ftol=1e-15, gtol=1e-9),
        )
        for start in [fitting.theta_of(TRUE).tolist()]
    ]  # fmt: skip
    theirs = min(tries, key=lambda one: one.fun)
    ours = fitting.fit(*points, FEW)
    close(ours, fitting.law_of(torch.tensor(theirs.x)), rel=1e-3)


def test_the_misfit_is_huber_of_differences_of_logarithms():
    theta = fitting.theta_of(TRUE)[None]
    n, d, loss = runs_of(TRUE)
    off = torch.linspace(-3e-3, 3e-3, len(n), dtype=torch.float64)
    counts = torch.arange(1.0, len(n) + 1, dtype=torch.float64)[None]
    found = fitting.misfit(theta, counts, n, d, loss * off.exp())
    huber = torch.nn.functional.huber_loss
    each = huber(off, 0 * off, delta=1e-3, reduction="none")
    # A sum: not divided by the number of runs.
    torch.testing.assert_close(found, (each * counts[0]).sum()[None])


def test_a_draw_counts_runs_as_often_as_it_has_them():
    n, d, loss = runs_of(TRUE, noise=0.02)
    twice = torch.tensor([0, 0, 2, 3, 4, 5, 6, 6, 8, 9, 10, 11])
    counts = torch.bincount(twice, minlength=len(n)).double()
    start = fitting.theta_of(TRUE)[None]
    value, _ = fitting.descend(start, counts[None], n, d, loss)
    drawn = n[twice], d[twice], loss[twice]
    again, _ = fitting.descend(start, torch.ones_like(counts)[None], *drawn)
    torch.testing.assert_close(value, again, rtol=1e-6, atol=0)


def test_a_bootstrap_surrounds_the_fit_and_repeats_by_its_seed(monkeypatch):
    points = runs_of(TRUE, noise=0.003)
    law = fitting.fit(*points, FEW)
    monkeypatch.setattr(fitting, "STEPS", 60)
    laws = fitting.bootstrap(*points, law, draws=6)
    alphas = sorted(one.alpha for one in laws)
    assert alphas[0] < law.alpha < alphas[-1]
    assert laws == fitting.bootstrap(*points, law, draws=6)


def test_a_law_whose_floor_is_nothing_has_a_theta():
    law = dataclasses.replace(TRUE, floor=0.0)
    assert fitting.law_of(fitting.theta_of(law)).floor < 1e-300


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimum(0), "compute: got 0, expected FLOPs above 0"),
        (lambda: optimum(math.inf), "compute: got inf"),
        (lambda: worth(0.5), "epochs: got 0.5, expected 1 or more"),
        (lambda: fitting.fit(*[torch.ones(4)] * 3), "got \\[4, 4, 4\\] num"),
        (
            lambda: fitting.fit(*[torch.ones(6)] * 2, torch.zeros(6)),
            "loss: got 0.0, expected numbers above 0",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_it_is_six_flops_per_parameter_and_token():
    assert scaling.FLOPS * 174.6e9 * 300e9 == pytest.approx(3.14e23, rel=1e-3)
    assert scaling.FLOPS * 405e9 * 15.6e12 == pytest.approx(3.79e25, rel=1e-3)
