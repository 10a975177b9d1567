"""Short runs: the average is what samples, and a stop changes no bit."""

import pytest
import torch

from llmnotes import checkpoint
from llmnotes.diffusion.ddpm import EMA, MLPConfig, runs

TINY = MLPConfig(width=12, depth=1, about=6)


def made(seed=0, **names):
    return runs.untrained(**{"config": TINY, "seed": seed} | names)


def test_names_make_the_denoiser_they_name():
    model = made(target="noise", schedule="linear")
    assert type(model.target).__name__ == "Noise"
    assert model.schedule.alphas_bar[-1].item() == pytest.approx(4.04e-5, 1e-2)
    assert isinstance(model.network, EMA)
    with pytest.raises(KeyError):
        made(target="score")


def test_a_seed_decides_where_a_run_begins():
    one, two, other = (list(made(seed).parameters()) for seed in (0, 0, 1))
    assert all(map(torch.equal, one, two))
    assert not torch.equal(one[0], other[0])


def test_a_short_run_learns_and_its_average_follows():
    model = made()
    learned = runs.task(model)
    before = learned.evaluate(model.eval())
    history = runs.learn(model, learned, runs.config(60, 1e-2), progress=False)
    assert history[-1].validation_loss < 0.9 * before
    assert model.network.updates == 60
    average = learned.evaluate(model.eval())
    assert history[-1].validation_loss == pytest.approx(average)


def test_a_run_that_is_stopped_ends_with_the_same_bits(tmp_path):
    whole, config = made(), runs.config(6, 1e-2, every=3)
    runs.learn(whole, runs.task(whole), config, progress=False)
    part = made()
    task = runs.task(part)
    batch = task.batch
    task.batch = lambda step: batch(step) if step < 4 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        runs.learn(part, task, config, out=tmp_path, progress=False)
    again = made(seed=7)
    runs.learn(
        again, runs.task(again), config, out=tmp_path, resume=True,
        progress=False,
    )  # fmt: skip
    ours, theirs = again.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_saved_run_says_the_same(tmp_path):
    model = made()
    runs.learn(
        model, runs.task(model), runs.config(3), out=tmp_path, progress=False
    )
    other = made(seed=7)
    checkpoint.load(tmp_path, other)
    x, classes = torch.randn(2, 8, 8), torch.tensor([3, 5])
    for t in (torch.tensor([1, 1000]), torch.tensor([400, 2])):
        one, two = (m.eval().data(x, t, classes) for m in (model, other))
        assert torch.equal(one, two)


def test_the_rate_rises_and_falls_to_nothing():
    config = runs.config(300, 1e-2)
    assert config.rate(0) == pytest.approx(1e-2 / 30)
    assert config.rate(29) == 1e-2
    assert config.rate(299) == 0.0
