import pytest
import torch

from llmnotes.diffusion.ddim import Flow, runs, solve, visited
from llmnotes.diffusion.ddpm import MLPConfig
from llmnotes.diffusion.ddpm import runs as ddpm

TINY = MLPConfig(width=8, depth=1, about=4)


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setattr(runs, "PAIRS", 9)
    monkeypatch.setattr(runs, "PAIR_STEPS", 3)
    flow = runs.untrained(1, TINY)
    torch.nn.init.normal_(flow.network.average.write.weight, std=3.0)
    return flow, runs.Reflow(flow, seed=5, size=4)


def test_a_flow_is_ddpm_s_network_on_the_line():
    flow, other = runs.untrained(3), ddpm.untrained("velocity", seed=3)
    assert isinstance(flow.target, Flow)
    assert torch.equal(
        flow.schedule.sigmas * 1000, torch.arange(1001).double()
    )
    mine, theirs = flow.network.state_dict(), other.network.state_dict()
    assert all(torch.equal(mine[k], theirs[k]) for k in theirs)


def test_pairs_are_noise_and_what_the_flow_makes_of_it(task):
    flow, learned = task
    pictures, classes, noise = learned.pairs
    assert len(pictures) == len(noise) == 9
    again = solve(flow, noise, visited(1000, 3), classes, clip=None)
    assert torch.equal(pictures, again)
    assert pictures.abs().max() > 1  # nothing was clipped


def test_a_batch_of_reflow_keeps_pairs_together(task):
    _, learned = task
    x0, classes, t, noise = learned.batch(3)
    assert x0.shape == noise.shape == (4, 8, 8)
    assert t.min() >= 1 and t.max() <= 1000
    kept = {tuple(n.flatten().tolist()): i for i, n in
            enumerate(learned.pairs[2])}  # fmt: skip
    for picture, label, start in zip(x0, classes, noise, strict=True):
        i = kept[tuple(start.flatten().tolist())]
        assert torch.equal(picture, learned.pairs[0][i])
        assert label == learned.pairs[1][i]


def test_a_batch_of_reflow_depends_on_seed_and_step_alone(task):
    _, learned = task
    first, again = learned.batch(3), learned.batch(3)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(learned.batch(4)[2], first[2])


def test_reflow_learns(task):
    flow, learned = task
    config = ddpm.config(steps=3)
    history = ddpm.learn(flow, learned, config, progress=False)
    assert len(history) >= 1
