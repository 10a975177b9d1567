"""Digits: their split, their batches, and the loss of a batch."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llmnotes import data
from llmnotes.diffusion.ddpm import Data, Denoiser, Schedule, cosine
from llmnotes.diffusion.ddpm.task import CLASSES, Denoising, digits


class Zero(nn.Module):
    """Says that every picture is grey, and remembers the classes."""

    def __init__(self):
        super().__init__()
        self.scale, self.seen = nn.Parameter(torch.zeros(())), None

    def forward(self, x, time, condition=None):
        self.seen = condition
        return self.scale * x


def task(**changes):
    pictures = torch.linspace(-1, 1, 35 * 6).view(35, 2, 3)
    classes = torch.arange(35) % CLASSES
    made = pictures, classes
    given = {"steps": 20, "size": 7, "seed": 3} | changes
    return Denoising(made, (pictures[:5], classes[:5]), **given)


def denoiser():
    return Denoiser(Zero(), Schedule(cosine(20)), Data())


def test_every_digit_is_learned_from_or_judged_by():
    (learn, names), (judge, held) = digits()
    assert learn.shape == (1500, 8, 8) and judge.shape == (297, 8, 8)
    every = torch.cat([learn, judge]).flatten(1)
    assert len(every.unique(dim=0)) == len(every)
    images, labels = data.images("digits")
    sums = sorted((torch.from_numpy(images) * 2 - 1).sum((1, 2)).tolist())
    assert sorted(every.sum(1).tolist()) == pytest.approx(sums, abs=1e-4)
    assert torch.cat([names, held]).sum() == labels.sum()


def test_pictures_are_in_17_levels_from_minus_1_to_1():
    (learn, _), _ = digits()
    levels = (learn + 1) * 8
    assert torch.equal(levels, levels.round())
    assert (levels.min(), levels.max()) == (0, 16)


def test_each_class_has_its_share_on_both_sides():
    (_, learn), (_, judge) = digits()
    shares = judge.bincount() / (learn.bincount() + judge.bincount())
    assert (shares - 297 / 1797).abs().max() < 0.01


def test_the_file_s_order_would_part_the_writers():
    """The last 297 are further from the first 1,500 than ours are: there
    no writer stands on both sides."""
    images, _ = data.images("digits")
    pictures = torch.from_numpy(images * 2 - 1).flatten(1)
    (learn, _), (judge, _) = digits()
    file = torch.cdist(pictures[1500:], pictures[:1500]).amin(1).mean()
    ours = torch.cdist(judge.flatten(1), learn.flatten(1)).amin(1).mean()
    assert file > 1.05 * ours


def test_a_batch_is_a_function_of_seed_and_step():
    one, again = task().batch(4), task().batch(4)
    assert all(map(torch.equal, one, again))
    for other in (task().batch(5), task(seed=4).batch(4)):
        assert not torch.equal(one[3], other[3])


def test_a_batch_has_every_t_alike_and_normal_noise():
    _, _, t, noise = task(size=20_000).batch(0)
    counts = t.bincount(minlength=21)[1:]
    assert (t.min(), t.max()) == (1, 20)
    assert (counts / 1000 - 1).abs().max() < 0.15
    assert noise.mean().abs() < 0.01 and (noise.std() - 1).abs() < 0.01


def test_pictures_keep_their_classes_but_for_those_that_are_hidden():
    pictures, classes, _, _ = task(drop=0.3, size=5000).batch(0)
    place = ((pictures[:, 0, 0] + 1) * (35 * 6 - 1) / 12).round().long()
    assert len(place.unique()) == 35
    hidden = classes == CLASSES
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(classes[~hidden], (place % CLASSES)[~hidden])
    assert (task(drop=1.0).batch(0)[1] == CLASSES).all()
    assert (task().batch(0)[1] < CLASSES).all()


def test_the_loss_of_a_batch_by_hand():
    learned, model = task(), denoiser()
    batch = learned.batch(0)
    loss = learned.loss(model, batch)
    assert loss.item() == pytest.approx(batch[0].square().mean().item())
    assert torch.equal(model.network.seen, batch[1])
    absolute = task(error=F.l1_loss).loss(model, batch)
    assert absolute.item() == pytest.approx(batch[0].abs().mean().item())


@torch.no_grad()
def test_it_is_judged_by_held_out_pictures_with_the_same_noise():
    learned, model = task(), denoiser()
    assert learned.evaluate(model) == learned.evaluate(model)
    grey = learned.judged[0].square().mean().item()
    assert learned.evaluate(model) == pytest.approx(grey)
    torch.nn.init.constant_(model.network.scale, 0.5)
    assert learned.evaluate(model) != pytest.approx(grey)
    assert learned.judged[3].shape == (5, 2, 3)


@pytest.mark.parametrize("drop", (-0.1, 1.1))
def test_a_share_that_is_none_is_refused(drop):
    with pytest.raises(ValueError, match=f"drop: got {drop}, expected a sha"):
        task(drop=drop)
