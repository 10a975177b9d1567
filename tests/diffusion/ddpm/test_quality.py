"""Four measures: against SciPy and by hand, and what each cannot see."""

import numpy as np
import pytest
import scipy.linalg
import torch

from llmnotes.diffusion.ddpm import quality
from llmnotes.diffusion.ddpm.task import digits


def rows(n, width, seed):
    draw = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=draw)
    return torch.randn(n, width, generator=draw) @ mix + 0.3 * seed


def by_scipy(a, b):
    a, b = a.double().numpy(), b.double().numpy()
    one, two = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(one @ two).real
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return apart + np.trace(one + two - 2 * root)


def test_frechet_is_that_of_scipy_s_root():
    a, b = rows(40, 5, 1), rows(31, 5, 2)
    expected = by_scipy(a, b)
    assert quality.frechet(a, b) == pytest.approx(expected, rel=1e-9)
    assert quality.frechet(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_holds_where_features_never_move():
    """A feature that is 0 everywhere has a singular covariance."""
    a, b = rows(40, 5, 1), rows(31, 5, 2)
    dead_a, dead_b = (torch.cat([x, 0 * x[:, :2]], 1) for x in (a, b))
    found = quality.frechet(dead_a, dead_b)
    assert found == pytest.approx(quality.frechet(a, b), rel=1e-9)


def test_frechet_by_hand():
    """Means 0 and 3, variances 1 and 4: 9 + 1 + 4 - 2 · 2."""
    a = torch.tensor([[-1.0], [0.0], [1.0]])
    b = torch.tensor([[1.0], [3.0], [5.0]])
    assert quality.frechet(a, b) == pytest.approx(10.0)
    assert quality.frechet(a, a) == pytest.approx(0.0, abs=1e-9)


def test_few_pictures_look_further_away():
    real = rows(2000, 5, 0)
    few = np.mean(
        [
            quality.frechet(rows(20, 5, 0)[:20] * 0 + real[i : i + 20], real)
            for i in range(0, 400, 20)
        ]
    )
    many = np.mean([quality.frechet(real[i:i + 200], real)
                    for i in range(0, 400, 200)])  # fmt: skip
    assert few > 4 * many


def test_precision_and_recall_by_hand():
    """Real: 0, 1, 2, 10; made: .5 and 6, k = 1. Real balls have radii 1, 1,
    1, 8; those of the made 5.5."""
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    made = torch.tensor([[0.5], [6.1]])
    assert quality.among(made, real, 1).tolist() == [True, True]
    assert quality.among(real, made, 1).tolist() == [True] * 4
    far = torch.tensor([[0.5], [-3.0]])
    precision, recall = quality.precision_recall(far, real, 1)
    assert (precision, recall) == (0.5, 0.75)  # 10 is far from both


def test_nearest_is_in_pixels():
    a = torch.zeros(2, 2, 2)
    b = torch.ones(3, 2, 2) * torch.tensor([3.0, 1.0, -0.5])[:, None, None]
    assert quality.nearest(a, b).tolist() == [1.0, 1.0]


@pytest.fixture(scope="module")
def floor():
    return quality.floor()


def test_the_reader_reads_digits_it_has_not_seen(floor):
    assert floor["accuracy"] > 0.98
    assert floor["copies"] < 0.01


def test_the_reader_leaves_random_numbers_alone(monkeypatch):
    monkeypatch.setattr(quality.train, "fit", lambda *_, **__: None)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    quality.reader.__wrapped__()
    assert torch.equal(torch.rand(1), expected)


def measured(make):
    (real, classes), (_, held) = digits()
    draw = torch.Generator().manual_seed(0)
    order = [int((classes == c).nonzero()[i % 60]) for i, c in
             enumerate(held)]  # fmt: skip
    return quality.measures(make(real[order], draw), held)


def test_copies_have_a_distance_below_the_floor(floor):
    """And all other measures are perfect: only the neighbours tell."""
    found = measured(lambda real, _: real)
    assert found["frechet"] < floor["frechet"]
    assert found["precision"] == 1 and found["accuracy"] > 0.99
    assert found["copies"] == 1 and found["nearest"] < 1e-3


def test_one_good_picture_of_each_class_has_no_recall(floor):
    found = measured(lambda real, _: real[:10].repeat(30, 1, 1)[:297])
    assert found["precision"] == 1
    assert found["recall"] < 0.2
    assert found["frechet"] > 5 * floor["frechet"]


def test_noise_fails_every_measure(floor):
    found = measured(lambda real, draw: torch.randn(
        real.shape, generator=draw).clamp(-1, 1))  # fmt: skip
    assert found["accuracy"] < 0.3 and found["precision"] < 0.05
    assert found["frechet"] > 20 * floor["frechet"]
    assert found["copies"] == 0


def test_what_is_judged_has_the_classes_of_the_held_out():
    seen = []

    def make(classes, generator):
        seen.append((classes, torch.rand(1, generator=generator).item()))
        return 5 * torch.ones(len(classes), 8, 8)

    found = quality.judged(make, seed=1, sets=2)
    again = quality.measures(torch.ones(297, 8, 8), seen[0][0])
    assert found == pytest.approx(again)
    assert torch.equal(seen[0][0], digits()[1][1])
    assert seen[0][1] != seen[1][1]


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="features: got 1 row, expected at"):
        quality.frechet(torch.ones(1, 3), rows(9, 3, 0))
    with pytest.raises(ValueError, match="k: got 9, expected 1 to 8, as"):
        quality.among(rows(2, 3, 0), rows(9, 3, 0), 9)
